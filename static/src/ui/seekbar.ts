// The bar over the live window: where the viewer is, and the way back and forth. An ordinary range input below the paint,
// so that keyboards, touch and screen readers have it for nothing.

import type { Snapshot } from '../player/session';
import { attribute, el, text, toggle } from './dom';
import { clock } from './words';

export class SeekBar {
  readonly element: HTMLElement;
  private readonly input = el('input', { type: 'range', min: 0, max: 1000, step: 1, value: 1000, 'aria-label': 'Seek' });
  private readonly hint = el('output', { class: 'seek-hint', 'aria-hidden': 'true' });
  private span: { start: number; end: number; live: boolean } | null = null;
  private dragging = false;

  constructor(private readonly seek: (to: number) => void) {
    this.element = el('div', { class: 'seekbar' }, this.input, this.hint);
    this.input.addEventListener('pointerdown', () => {
      this.dragging = true;
    });
    this.input.addEventListener('input', () => this.paint(Number(this.input.value) / 1000));
    this.input.addEventListener('change', () => {
      this.dragging = false;
      this.go(Number(this.input.value) / 1000);
    });
    this.element.addEventListener('pointermove', (event) => this.point(event));
  }

  render(snapshot: Snapshot): void {
    const span = snapshot.window;
    // Less than this is no window to move about in.
    const usable = span !== null && snapshot.begun && span.edge - span.start > 4;
    toggle(this.element, !usable);
    if (!span || !usable) return;
    const end = span.live ? span.edge - span.holdBack : span.edge;
    this.span = { start: span.start, end, live: span.live };
    if (this.dragging) return;
    const atLive = snapshot.following && span.live;
    const part = atLive ? 1 : clamp((snapshot.position - span.start) / (end - span.start));
    this.input.value = String(Math.round(part * 1000));
    this.paint(part);
    attribute(this.input, 'aria-valuetext', this.spoken(atLive, snapshot.position));
  }

  private spoken(atLive: boolean, position: number): string {
    if (!this.span) return '';
    if (atLive) return 'Live';
    if (this.span.live) return `${Math.round(this.span.end - position)} seconds behind live`;
    return `${clock(position - this.span.start)} of ${clock(this.span.end - this.span.start)}`;
  }

  private go(part: number): void {
    if (this.span) this.seek(this.span.start + part * (this.span.end - this.span.start));
  }

  private paint(part: number): void {
    this.input.style.setProperty('--played', `${(part * 100).toFixed(2)}%`);
  }

  private point(event: PointerEvent): void {
    if (!this.span) return;
    const box = this.input.getBoundingClientRect();
    const part = clamp((event.clientX - box.left) / box.width);
    const length = this.span.end - this.span.start;
    text(this.hint, this.span.live ? `-${clock((1 - part) * length)}` : clock(part * length));
    this.hint.style.setProperty('left', `${(part * 100).toFixed(2)}%`);
  }
}

function clamp(part: number): number {
  return Math.min(1, Math.max(0, part));
}
