// The panel for the curious: what the player knows about itself, and a minute of latency and buffer as curves.

import type { Snapshot } from '../player/session';
import { el, text, toggle } from './dom';
import { bits } from './words';

export class Stats {
  readonly element: HTMLElement;
  private readonly values = new Map<string, HTMLElement>();
  private readonly chart = el('canvas', { width: 264, height: 64, role: 'img', 'aria-label': 'Latency and buffer, last minute' });
  private readonly history: { latency: number; forward: number; stalled: boolean }[] = [];
  private sampledAt = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    close: HTMLElement,
  ) {
    const list = el('dl');
    for (const name of ROWS) {
      const value = el('dd');
      this.values.set(name, value);
      list.append(el('dt', {}, name), value);
    }
    const legend = el('p', { class: 'legend' }, el('span', { class: 'latency' }, 'latency'), el('span', { class: 'buffer' }, 'buffer'));
    this.element = el(
      'section',
      { class: 'stats', 'aria-label': 'Statistics', hidden: true },
      el('header', {}, el('h2', {}, 'Statistics'), close),
      list,
      this.chart,
      legend,
    );
  }

  get shown(): boolean {
    return !this.element.hidden;
  }

  show(shown: boolean): void {
    toggle(this.element, !shown);
  }

  render(snapshot: Snapshot): void {
    const now = performance.now();
    if (now - this.sampledAt < 250) return;
    this.sampledAt = now;
    this.remember(snapshot);
    if (!this.shown) return;
    const quality = this.video.getVideoPlaybackQuality();
    this.write('Latency', `${seconds(snapshot.latency)} (target ${seconds(snapshot.target)})`);
    this.write('Buffer', seconds(snapshot.forward));
    this.write('Rate', `${snapshot.rate.toFixed(2)}×`);
    this.write('Stalls', `${snapshot.stalls} (${snapshot.stallSeconds.toFixed(1)} s)`);
    this.write('Picture', this.picture(snapshot));
    this.write('Codecs', snapshot.codecs || 'unknown');
    this.write('Dropped', `${quality.droppedVideoFrames} of ${quality.totalVideoFrames} frames`);
    this.write('Bandwidth', bits(snapshot.bandwidth));
    this.write('Protocol', [snapshot.protocol, transport()].filter(Boolean).join(', ') || 'none');
    this.draw();
  }

  private picture(snapshot: Snapshot): string {
    const { videoWidth, videoHeight } = this.video;
    if (videoWidth === 0) return 'none';
    const bitrate = snapshot.rungs[Math.max(0, snapshot.playing)]?.bitrate ?? 0;
    return `${videoWidth}×${videoHeight}${bitrate > 0 ? `, ${bits(bitrate)}` : ''}`;
  }

  private write(name: (typeof ROWS)[number], value: string): void {
    const cell = this.values.get(name);
    if (cell) text(cell, value);
  }

  private remember(snapshot: Snapshot): void {
    const stalled = snapshot.state === 'buffering' || snapshot.state === 'reconnecting';
    this.history.push({ latency: snapshot.latency ?? Number.NaN, forward: snapshot.forward, stalled });
    if (this.history.length > SAMPLES) this.history.shift();
  }

  private draw(): void {
    const pen = this.chart.getContext('2d');
    if (!pen) return;
    const { width, height } = this.chart;
    const highest = Math.max(2, ...this.history.map((h) => Math.max(h.latency || 0, Math.min(h.forward, 8))));
    const x = (i: number) => (i / (SAMPLES - 1)) * width;
    const y = (value: number) => height - 2 - (Math.min(value, highest) / highest) * (height - 4);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = 'rgb(244 63 94 / 0.35)';
    this.history.forEach((h, i) => h.stalled && pen.fillRect(x(i), 0, width / SAMPLES + 1, height));
    const curve = (colour: string, value: (h: { latency: number; forward: number }) => number) => {
      pen.strokeStyle = colour;
      pen.lineWidth = 1.5;
      pen.beginPath();
      this.history.forEach((h, i) => Number.isFinite(value(h)) && pen.lineTo(x(i), y(value(h))));
      pen.stroke();
    };
    curve('#5b9dff', (h) => h.forward);
    curve('#3fe0c5', (h) => h.latency);
  }
}

/** HTTP version of the last media request, as the browser names it. */
function transport(): string {
  const entries = performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/live/'));
  const last = entries.at(-1);
  // The browser keeps 250 entries and then no new ones: make room for the present.
  if (entries.length > 200) performance.clearResourceTimings();
  const id = last instanceof PerformanceResourceTiming ? last.nextHopProtocol : '';
  return { 'http/1.1': 'HTTP/1.1', h2: 'HTTP/2', h2c: 'HTTP/2', h3: 'HTTP/3' }[id] ?? id;
}

function seconds(value: number | null): string {
  return value === null ? 'n/a' : `${value.toFixed(2)} s`;
}

/** One minute at four samples a second. */
const SAMPLES = 240;

const ROWS = ['Latency', 'Buffer', 'Rate', 'Stalls', 'Picture', 'Codecs', 'Dropped', 'Bandwidth', 'Protocol'] as const;
