// The delay menu: real time, low, or safe. What is playing stands on the button, so that a fall back to HLS is seen.

import type { Aim, Snapshot } from '../player/session';
import { Choices } from './choices';
import { text } from './dom';

export const AIMS: readonly Aim[] = ['realtime', 'low', 'safe'];

const TITLES: Record<Aim, [string, string]> = {
  realtime: ['Real time', 'WebRTC, as it happens'],
  low: ['Low', 'about a second, can go back'],
  safe: ['Safe', 'some seconds, for bad links'],
};

export class DelayMenu extends Choices {
  private known = '';

  constructor(private readonly choose: (aim: Aim) => void) {
    super('Delay', 'delay', 'delay-choice', 'delays');
  }

  render({ aim, realtime, protocol }: Snapshot): void {
    const tag = this.button.querySelector('.tag');
    const plays: Aim = realtime ? 'realtime' : aim === 'realtime' ? 'low' : aim;
    if (tag) text(tag, protocol === '' ? '' : TITLES[plays][0]);
    const key = `${aim} ${plays}`;
    if (key === this.known) return;
    this.known = key;
    this.fill(
      AIMS.map((each) => {
        const [title, detail] = TITLES[each];
        const fallen = each === 'realtime' && each === aim && !realtime;
        return this.item(title, fallen ? 'not reached; tried again by itself' : detail, each === aim, () => this.choose(each));
      }),
    );
  }
}
