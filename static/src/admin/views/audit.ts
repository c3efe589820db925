// Who changed what.

import { el } from '../../ui/dom';
import { api, type Entry } from '../api';
import { date } from '../format';
import { table } from '../parts';
import type { View } from '../view';

export function auditView(): View {
  const list = el('div');
  void api.get<{ entries: Entry[] }>('/audit?limit=500').then(({ entries }) => {
    const rows = entries.map((entry) => [date(entry.at_ms), entry.action.replace(/\./g, ' '), entry.target, entry.outcome, `${entry.who} from ${entry.from}`]);
    list.replaceChildren(rows.length === 0 ? el('p', { class: 'empty' }, 'Nothing has been changed yet.') : table('Audit log', ['When', 'What', 'Of', 'Outcome', 'By'], rows));
  }).catch(() => undefined);
  return { title: 'Audit', element: el('section', {}, el('h1', {}, 'Audit log'), el('p', { class: 'soft' }, 'Every change by the page and the API, the newest first.'), list) };
}
