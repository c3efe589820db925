// The admin page: login first, then the views, each under an address of its own behind the hash.

import { api, Problem, type Me } from './admin/api';
import { say } from './admin/ask';
import { Live } from './admin/live';
import { auditView } from './admin/views/audit';
import { eventsView } from './admin/views/events';
import { keysView } from './admin/views/keys';
import { loginView } from './admin/views/login';
import { serverView } from './admin/views/server';
import { sessionsView } from './admin/views/sessions';
import { settingsView } from './admin/views/settings';
import { streamView } from './admin/views/stream';
import { streamsView } from './admin/views/streams';
import type { View } from './admin/view';
import { attribute, el, text } from './ui/dom';

const main = must('#main');
const nav = must('#nav');
const who = must('#who');
const live = new Live();
let shown: View | null = null;

const TABS = [
  ['streams', 'Streams'],
  ['sessions', 'Sessions'],
  ['keys', 'Keys'],
  ['server', 'Server'],
  ['events', 'Events'],
  ['settings', 'Settings'],
  ['audit', 'Audit'],
] as const;

for (const [path, label] of TABS) nav.append(el('a', { href: `#/${path}` }, label));
const connection = el('span', { class: 'connection', role: 'status' });
const out = el('button', { type: 'button', class: 'button quiet small' }, 'Log out');
out.addEventListener('click', () => void api.post('/logout').finally(() => location.reload()));
who.append(connection, out);

live.follow(() => {
  attribute(connection, 'data-state', live.connected ? 'on' : 'off');
  text(connection, live.connected ? 'Live' : 'Not connected');
});
addEventListener('hashchange', () => show());
addEventListener('unauthorised', () => void enter());
void enter();

/** Shows the login form, or what was asked for. */
async function enter(): Promise<void> {
  try {
    await api.get<Me>('/me');
  } catch (error) {
    live.stop();
    nav.hidden = who.hidden = true;
    const refused = error instanceof Problem && error.status === 401;
    replace(refused ? loginView(() => void enter()) : failed(error));
    return;
  }
  nav.hidden = who.hidden = false;
  live.start();
  show();
}

function show(): void {
  const [page = 'streams', ...rest] = location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
  for (const link of nav.querySelectorAll('a')) {
    if (link.getAttribute('href') === `#/${page}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  replace(view(page, rest));
}

function view(page: string, [name]: string[]): View {
  switch (page) {
    case 'streams': return name === undefined ? streamsView(live) : streamView(live, name);
    case 'sessions': return sessionsView(name);
    case 'keys': return keysView();
    case 'server': return serverView(live);
    case 'events': return eventsView();
    case 'settings': return settingsView();
    case 'audit': return auditView();
    default: return { title: 'Not found', element: el('p', {}, 'There is no such page.') };
  }
}

function replace(next: View): void {
  shown?.stop?.();
  const again = shown !== null;
  shown = next;
  document.title = `${next.title} · Headwater admin`;
  main.replaceChildren(next.element);
  scrollTo(0, 0);
  // Who uses a keyboard or a screen reader goes on at the new page, not at the link that led there.
  if (again) main.focus({ preventScroll: true });
}

function failed(error: unknown): View {
  const again = el('button', { type: 'button', class: 'button' }, 'Try again');
  again.addEventListener('click', () => void enter());
  say(`The server does not answer: ${String(error)}`);
  return { title: 'No answer', element: el('div', { class: 'empty' }, el('h1', {}, 'The server does not answer'), el('p', {}, String(error)), again) };
}

function must(selector: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(selector);
  if (found === null) throw new Error(`the page lacks ${selector}`);
  return found;
}
