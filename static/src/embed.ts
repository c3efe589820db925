// The embed page: the player alone, for frames on other sites. `?muted=0`, `?autoplay=0` and `?controls=0` turn things off.
//
// The page around it hears `{ source: 'headwater', type: 'state', name, state }` with every change of state and
// `{ source: 'headwater', type: 'latency', name, latency }` once a second, in seconds, while something plays.

import { expose } from './hook';
import { flag, nameOf } from './location';
import { Player } from './ui/player';
import type { State } from './player/state';

const name = nameOf(location.pathname);
const player = new Player({
  name,
  controls: flag(location.search, 'controls'),
  muted: flag(location.search, 'muted'),
  autoplay: flag(location.search, 'autoplay'),
});
expose(player);
document.querySelector('#stage')?.replaceChildren(player.element);
document.title = `${name} · Headwater`;

let told: State | null = null;
player.session.onChange(({ state }) => {
  if (state === told) return;
  told = state;
  tell({ type: 'state', state });
});
window.setInterval(() => {
  const { state, latency } = player.session.snapshot();
  if (state === 'playing' && latency !== null) tell({ type: 'latency', latency });
}, 1_000);

/** To whoever frames us: nothing said here is a secret of the viewer. */
function tell(message: Record<string, unknown>): void {
  if (window.parent !== window) window.parent.postMessage({ source: 'headwater', name, ...message }, '*');
}
