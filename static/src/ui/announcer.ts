// Says to screen readers what others see. A live region that speaks only when the state has held for a moment, so that a
// flicker is not read out.

import type { State } from '../player/state';
import { el, text } from './dom';
import { SPOKEN } from './words';

export class Announcer {
  readonly element = el('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
  private state: State | null = null;
  private timer = 0;

  render(state: State): void {
    if (state === this.state) return;
    this.state = state;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.say(SPOKEN[state]), HOLD_MS);
  }

  say(sentence: string): void {
    text(this.element, sentence);
  }
}

const HOLD_MS = 600;
