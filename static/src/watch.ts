// The watch page: the player, and around it what it is and how to share it.

import { listCheck } from './check';
import { expose } from './hook';
import { nameOf, prefixOf } from './location';
import { copyable } from './ui/copy';
import { el, text } from './ui/dom';
import { icon } from './ui/icons';
import { Player } from './ui/player';
import type { State } from './player/state';

const BADGE: Record<State, string> = {
  waiting: 'Off air',
  starting: 'Tuning in',
  playing: 'Live',
  paused: 'Paused',
  buffering: 'Live',
  reconnecting: 'Reconnecting',
  offline: 'No connection',
  ended: 'Ended',
  unplayable: 'Not playable',
  refused: 'Not open',
};

const name = nameOf(location.pathname);
const base = prefixOf(location.pathname);
const player = new Player({ name, controls: true, muted: true, autoplay: true });
expose(player);

const stage = document.querySelector('#stage');
stage?.replaceChildren(player.element);

const heading = document.querySelector('#name');
if (heading) text(heading, name);

const badge = document.querySelector<HTMLElement>('#badge');
player.session.onChange(({ state }) => {
  const label = BADGE[state];
  document.title = `${label === 'Live' ? '● ' : ''}${name} · Headwater`;
  if (!badge) return;
  badge.dataset['state'] = state;
  text(badge, label);
});

// Real time needs more of the network than HLS does. Who has fallen back, or sees nothing, is shown where to find out why.
const trouble = document.querySelector<HTMLDetailsElement>('#trouble');
const steps = document.querySelector<HTMLElement>('#steps');
let offered = false;
player.session.onChange(({ aim, realtime, state }) => {
  const fellBack = aim === 'realtime' && !realtime && state === 'playing';
  if (!trouble || offered || !(fellBack || state === 'offline')) return;
  offered = true;
  trouble.open = true;
});
document.querySelector('#test')?.addEventListener('click', () => {
  if (steps) void listCheck({ url: `${base}/whep/${encodeURIComponent(name)}`, watch: true }, steps);
});

const embed = `<iframe src="${location.origin}${base}/embed/${encodeURIComponent(name)}" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture" frameborder="0"></iframe>`;
document.querySelector('#share')?.append(
  copyable(el('button', { type: 'button', class: 'button quiet' }, icon('link'), 'Copy link'), () => location.href),
  copyable(el('button', { type: 'button', class: 'button quiet' }, icon('code'), 'Copy embed code'), () => embed),
);
