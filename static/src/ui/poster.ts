// What stands in the picture's place while there is none, be it for a time or because the show is sound alone, and the soft
// note over a picture that stands. Before the first picture: a still of the stream, where the server has one.

import type { Snapshot } from '../player/session';
import { el, svg, text, toggle } from './dom';
import { icon } from './icons';
import { prefixOf } from '../location';
import { words } from './words';

export class Poster {
  readonly element: HTMLElement;
  /** Over a standing picture: it goes on, just not this second. */
  readonly note = el('div', { class: 'note', hidden: true }, el('i', { class: 'dots', 'aria-hidden': 'true' }), el('span'));
  private readonly title = el('p', { class: 'title' });
  private readonly detail = el('p', { class: 'detail' });
  private readonly still = el('img', { class: 'still', alt: '', hidden: true });
  private stillLoaded = false;
  /** There will be a picture any moment. */
  private soon = false;
  private readonly again: HTMLButtonElement;

  constructor(
    private readonly name: string,
    replay: () => void,
  ) {
    this.again = el('button', { type: 'button', class: 'button', hidden: true }, icon('replay'), 'Watch again');
    this.again.addEventListener('click', replay);
    const body = el('div', { class: 'body' }, el('p', { class: 'name' }, name), this.title, this.detail, this.again);
    this.element = el('div', { class: 'poster' }, river(), this.still, body);
    this.still.addEventListener('load', () => (this.stillLoaded = true));
    this.still.addEventListener('error', () => (this.stillLoaded = false));
  }

  /** One of now: shows come and go under a name. */
  private fetchStill(): void {
    this.stillLoaded = false;
    this.still.src = `${prefixOf(location.pathname)}/live/${encodeURIComponent(this.name)}/poster.jpg?at=${Date.now()}`;
  }

  render(snapshot: Snapshot): void {
    const { begun, state } = snapshot;
    const { title, detail } = words(snapshot);
    const blind = begun && snapshot.pictures !== 'shown' && title !== '';
    const covered = (!begun && state !== 'paused') || blind;
    toggle(this.element, begun && !blind);
    this.element.classList.toggle('bare', !covered);
    text(this.title, covered ? title : '');
    text(this.detail, covered ? detail : '');
    const soon = !begun && (state === 'starting' || state === 'paused');
    if (soon && !this.soon) this.fetchStill();
    this.soon = soon;
    toggle(this.still, !(soon && this.stillLoaded));
    toggle(this.again, !(state === 'ended' && snapshot.replayable));
    const noted = begun && state === 'reconnecting';
    toggle(this.note, !noted);
    const line = this.note.querySelector('span');
    if (noted && line) text(line, `${title}. ${detail}`);
  }
}

/** Three slow waves. Moved by the style sheet, and not at all for whoever prefers no motion. */
function river(): SVGElement {
  const wave = (y: number) =>
    `M0 ${y}c100-34 200-34 300 0s200 34 300 0 200-34 300 0 200 34 300 0 200-34 300 0 200 34 300 0V900H0z`;
  return svg(
    'svg',
    { class: 'river', viewBox: '0 0 1200 675', preserveAspectRatio: 'xMidYMid slice', 'aria-hidden': 'true' },
    svg('path', { d: wave(400) }),
    svg('path', { d: wave(470) }),
    svg('path', { d: wave(550) }),
  );
}
