// Everything that happens, as it happens.

import { el, text } from '../../ui/dom';
import { ROOT, type Happened } from '../api';
import type { View } from '../view';
import { Timeline } from './timeline';

export function eventsView(): View {
  const timeline = new Timeline();
  const state = el('p', { class: 'soft', role: 'status' });
  const source = new EventSource(`${ROOT}/events?after=0`);
  source.addEventListener('open', () => text(state, 'As it happens, the newest first.'));
  source.addEventListener('error', () => text(state, 'Not connected; trying again.'));
  source.addEventListener('lost', () => text(state, 'Some events came and went while this page was away.'));
  source.addEventListener('happened', (event) => timeline.add(JSON.parse(event.data as string) as Happened, true));
  return { title: 'Events', element: el('section', {}, el('h1', {}, 'Events'), state, timeline.element), stop: () => source.close() };
}
