// Every option: its value, its default, where it came from; changes that are tried first, then made.

import { el, text } from '../../ui/dom';
import { api, type Change, type Option, type Tried } from '../api';
import { act, ask, say } from '../ask';
import { button, table } from '../parts';
import type { View } from '../view';

export function settingsView(): View {
  const file = el('p', { class: 'soft' });
  const filter = el('input', { id: 'option', type: 'search', placeholder: 'Filter by name', autocomplete: 'off' });
  const changed = el('input', { id: 'changed', type: 'checkbox' });
  const list = el('div');
  let options: Option[] = [];

  const render = () => {
    const wanted = filter.value.trim().toLowerCase();
    const shown = options.filter((option) => (option.name + option.about).toLowerCase().includes(wanted) && (!changed.checked || option.value !== option.default));
    list.replaceChildren(table('Options', ['Option', 'Value', 'From', 'Changes', ''], shown.map((option) => row(option, load))));
  };
  const load = async () => {
    const configuration = await api.get<{ file: string | null; options: Option[] }>('/config');
    options = configuration.options;
    text(file, configuration.file === null ? 'No configuration file was read.' : `Read from ${configuration.file}, and again whenever it changes.`);
    render();
  };
  filter.addEventListener('input', render);
  changed.addEventListener('change', render);
  void load().catch((error: unknown) => say(String(error), true));
  const bar = el('div', { class: 'bar' }, el('label', { for: 'option', class: 'unseen' }, 'Filter by name'), filter, changed, el('label', { for: 'changed' }, 'Only what is not the default'));
  return { title: 'Settings', element: el('section', {}, el('h1', {}, 'Settings'), file, bar, list) };
}

function row(option: Option, load: () => Promise<void>): (Node | string)[] {
  const edit = button('Change…');
  edit.setAttribute('aria-label', `Change ${option.name}`);
  edit.addEventListener('click', () => void change(option, edit, load));
  const name = el('div', { class: 'option' }, el('b', {}, option.name), el('p', { class: 'soft' }, option.about));
  const value = el('div', {}, el('code', {}, option.value === '' ? '–' : option.value), option.value === option.default ? '' : el('p', { class: 'soft' }, `default ${option.default === '' ? '–' : option.default}`));
  const running = option.running === undefined ? [] : [el('p', { class: 'bad' }, `until a restart: ${option.running}`)];
  value.append(...running);
  return [name, value, option.origin, option.when, edit];
}

/** Asks for a value, says what it would do, and does it. */
async function change(option: Option, edit: HTMLButtonElement, load: () => Promise<void>): Promise<void> {
  const field = el('input', { id: 'value', value: option.value, autocomplete: 'off', spellcheck: 'false' });
  const back = el('button', { type: 'submit', class: 'button quiet', value: 'remove' }, 'As it was without this page');
  const no = el('button', { type: 'submit', class: 'button quiet', value: 'no' }, 'Cancel');
  const yes = el('button', { type: 'submit', class: 'button', value: 'yes' }, 'Try it');
  const form = el('form', { method: 'dialog' }, el('h2', { id: 'question' }, option.name), el('p', {}, option.about), el('label', { for: 'value' }, `Value (default ${option.default === '' ? 'none' : option.default})`), field, el('div', { class: 'actions' }, no, ...(option.origin.includes('API') ? [back] : []), yes));
  const dialog = el('dialog', { 'aria-labelledby': 'question' }, form);
  document.body.append(dialog);
  dialog.showModal();
  // Enter in the field tries it; the first button in the form would be Cancel.
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      dialog.close('yes');
    }
  });
  const answer = await new Promise<string>((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue)));
  dialog.remove();
  if (answer !== 'yes' && answer !== 'remove') return;
  const changes = { [option.name]: answer === 'remove' ? null : field.value.trim() };
  const tried = await api.post<Tried>('/config/validate', { changes }).catch((error: unknown) => {
    say(String(error), true);
    return null;
  });
  if (tried === null) return;
  if (!tried.ok) {
    for (const wrong of tried.errors) say(`${wrong.option}: ${wrong.problem}`, true);
    return;
  }
  if (tried.diff.length === 0) {
    say('That is what it is already.');
    return;
  }
  if (!(await ask(`Change ${option.name}?`, tried.diff.map(words).join(' '), 'Change'))) return;
  await act(edit, () => api.post('/config/apply', { changes }), `${option.name} is changed.`);
  await load();
}

function words({ option, from, to, when }: Change): string {
  return `${option} goes from ${from || 'nothing'} to ${to || 'nothing'}, ${when}.`;
}
