// Keys that open streams: made, rotated, revoked; a secret is shown once, with the recipes to use it. Links for viewers.

import { el } from '../../ui/dom';
import { api, at, reach, type Key, type Version } from '../api';
import { act, ask } from '../ask';
import { date } from '../format';
import { button, copyLine, table } from '../parts';
import { type Made, rotator, showMade } from '../secret';
import type { View } from '../view';

export function keysView(): View {
  const list = el('div');
  const load = async () => {
    const { keys } = await api.get<{ keys: Key[] }>('/keys');
    list.replaceChildren(keys.length === 0
      ? el('p', { class: 'empty' }, 'There are no keys: only this machine itself may publish.')
      : table('Keys', ['Label', 'Opens', 'For', 'Made', 'Last used', 'From', ''], keys.map((key) => row(key, load))));
  };
  void load().catch(() => undefined);
  return { title: 'Keys', element: el('section', {}, el('h1', {}, 'Keys'), makeKey(load), list, makeLink()) };
}

function makeKey(load: () => Promise<void>): HTMLElement {
  const label = el('input', { id: 'label', maxlength: 100, autocomplete: 'off' });
  const stream = el('input', { id: 'key-stream', maxlength: 64, autocomplete: 'off', pattern: '[A-Za-z0-9_*.\\-]*', placeholder: 'every name', title: "Letters, digits, '-', '_', '.'; * is any run of characters" });
  const grant = el('select', { id: 'grant' }, el('option', { value: 'publish' }, 'publish'), el('option', { value: 'play' }, 'watch'));
  const make = el('button', { type: 'submit', class: 'button small' }, 'Make a key');
  const form = el('form', { class: 'card fields' }, el('h2', {}, 'A new key'), field('Label', label), field('Stream', stream), field('To', grant), make);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const body = { label: label.value.trim(), stream: stream.value.trim() || null, grant: grant.value };
    void act(make, async () => {
      const made = await api.post<Made>('/keys', body);
      form.reset();
      void showMade(made).then(load);
    }, 'The key is made.');
  });
  return form;
}

function row(key: Key, load: () => Promise<void>): (Node | string)[] {
  const name = key.label || key.id;
  const rotate = rotator('Rotate…', () => ({ id: key.id, name }), load);
  const revoke = button('Revoke…', 'danger');
  revoke.addEventListener('click', () => void ask(`Revoke ${name}?`, 'It opens nothing any more, and what it opened ends at once.', 'Revoke').then((yes) => {
    if (yes) void act(revoke, () => api.delete(at`/keys/${key.id}`), 'The key is revoked.').then(load);
  }));
  const actions = key.origin === 'config' ? el('span', { class: 'soft' }, 'in the configuration') : el('span', { class: 'actions' }, rotate, revoke);
  return [key.label || '–', key.stream ?? 'every name', key.grant === 'play' ? 'watching' : 'publishing', date(key.made_ms), date(key.used_ms), key.origin === 'config' ? 'configuration' : 'here', actions];
}

function makeLink(): HTMLElement {
  const stream = el('input', { id: 'link-stream', required: true, maxlength: 64, autocomplete: 'off', pattern: '[A-Za-z0-9_*.\\-]+' });
  const hours = el('input', { id: 'hours', type: 'number', min: 1, max: 87_600, value: 24, required: true });
  const make = el('button', { type: 'submit', class: 'button small' }, 'Make a link');
  const made = el('div', { 'aria-live': 'polite' });
  const form = el('form', { class: 'card fields' }, el('h2', {}, 'A link for viewers'), el('p', { class: 'soft' }, 'It opens a private stream until it expires, on every player, and through a CDN.'), field('Stream', stream), field('Good for hours', hours), make, made);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void act(make, async () => {
      const link = await api.post<{ prefix: string; url: string | null; watch: string | null; expires_ms: number }>('/play-urls', { stream: stream.value.trim(), expires_s: Number(hours.value) * 3600 });
      const { http } = reach(await api.get<Version>('/version'));
      const whole = (path: string) => (path.startsWith('/') ? http + path : path);
      const lines = [link.watch, link.url].flatMap((path, i) => (path === null ? [] : [copyLine(i === 0 ? 'Watch page' : 'HLS', whole(path))]));
      made.replaceChildren(...(lines.length > 0 ? lines : [copyLine('In front of every path', http + link.prefix)]), el('p', { class: 'soft' }, `Good until ${date(link.expires_ms)}.`));
    }, 'The link is made.');
  });
  return form;
}

function field(label: string, input: HTMLElement): HTMLElement {
  return el('div', {}, el('label', { for: input.id }, label), input);
}
