// Two small graphs in SVG: a line in a row, and a line over time with its scale. Drawn anew once a second at most.

import { el, svg, text } from '../ui/dom';

/** The way of a series through a box, from 0 at its foot to `most` at its top. */
export function line(values: number[], width: number, height: number, most: number, places = values.length): string {
  const step = places > 1 ? width / (places - 1) : 0;
  const from = places - values.length;
  return values
    .map((value, i) => `${i === 0 ? 'M' : 'L'}${((from + i) * step).toFixed(1)} ${(height - (Math.min(value, most) / most) * height).toFixed(1)}`)
    .join('');
}

export class Sparkline {
  private readonly path = svg('path', { d: '', class: 'spark-line' });
  readonly element = svg('svg', { viewBox: `0 -1 ${SPARK_WIDTH} ${SPARK_HEIGHT + 2}`, class: 'spark', 'aria-hidden': 'true', preserveAspectRatio: 'none' }, this.path);

  draw(values: number[], places: number): void {
    this.path.setAttribute('d', line(values, SPARK_WIDTH, SPARK_HEIGHT, Math.max(1, ...values) * 1.1, places));
  }
}

export class TimeGraph {
  private readonly path = svg('path', { d: '', class: 'graph-line' });
  private readonly fill = svg('path', { d: '', class: 'graph-fill' });
  private readonly now = el('b');
  private readonly top = el('span', { class: 'graph-top' });
  readonly element: HTMLElement;

  /** `shown`: how a value is written; `least`: what the scale reaches at least. */
  constructor(label: string, private readonly shown: (value: number) => string, private readonly least: number) {
    const drawing = svg('svg', { viewBox: `0 -2 ${GRAPH_WIDTH} ${GRAPH_HEIGHT + 4}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.fill, this.path);
    this.element = el('figure', { class: 'graph' }, el('figcaption', {}, label, ' ', this.now), el('div', { class: 'graph-box' }, this.top));
    this.element.querySelector('.graph-box')?.append(drawing);
  }

  draw(values: number[], places = PLACES): void {
    const most = nice(Math.max(this.least, ...values));
    const way = line(values, GRAPH_WIDTH, GRAPH_HEIGHT, most, Math.max(places, values.length));
    this.path.setAttribute('d', way);
    const start = GRAPH_WIDTH - (GRAPH_WIDTH * Math.max(0, values.length - 1)) / Math.max(1, Math.max(places, values.length) - 1);
    this.fill.setAttribute('d', way === '' ? '' : `${way}L${GRAPH_WIDTH} ${GRAPH_HEIGHT}L${start.toFixed(1)} ${GRAPH_HEIGHT}Z`);
    const last = values[values.length - 1];
    text(this.now, last === undefined ? '–' : this.shown(last));
    text(this.top, this.shown(most));
  }
}

/** The next of 1, 2, 5, 10, 20, ... */
export function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999) ?? value;
}

const SPARK_WIDTH = 96;
const SPARK_HEIGHT = 22;
const GRAPH_WIDTH = 600;
const GRAPH_HEIGHT = 90;
/** Five minutes of seconds. */
const PLACES = 300;
