// `window.headwater`: the player's numbers for tests, measurements and whoever debugs in the console. Read only.

import type { Player } from './ui/player';

export function expose(player: Player): void {
  const read = () => player.session.snapshot();
  const hook = {
    get snapshot() {
      return read();
    },
    get state() {
      return read().state;
    },
    get latency() {
      return read().latency;
    },
    get stalls() {
      return read().stalls;
    },
    get stallSeconds() {
      return read().stallSeconds;
    },
    video: player.video,
  };
  Object.defineProperty(window, 'headwater', { value: Object.freeze(hook) });
}
