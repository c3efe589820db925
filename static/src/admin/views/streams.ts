// What is live: one row a stream, what is wrong first.

import { attribute, el, text, toggle } from '../../ui/dom';
import { api, at, reach, ROOT, type Version } from '../api';
import { bits, bytes, span } from '../format';
import { Sparkline } from '../graph';
import { HISTORY, type Live, type Row } from '../live';
import { chip, recipes } from '../parts';
import type { View } from '../view';

const ORDER = { problem: 0, warning: 1, good: 2 };
const SORTS: Record<string, (a: Row, b: Row) => number> = {
  'problems first': (a, b) => ORDER[a.health] - ORDER[b.health] || a.name.localeCompare(b.name),
  'by name': (a, b) => a.name.localeCompare(b.name),
  'most viewers': (a, b) => b.viewers - a.viewers || a.name.localeCompare(b.name),
  'highest bit rate': (a, b) => b.bitrate - a.bitrate || a.name.localeCompare(b.name),
  'newest first': (a, b) => b.since_ms - a.since_ms || a.name.localeCompare(b.name),
};

export function streamsView(live: Live): View {
  const tiles = new Map(['Streams', 'Viewers', 'Coming in', 'Going out', 'CPU', 'Memory'].map((label) => [label, el('b')]));
  const summary = el('dl', { class: 'tiles' }, ...[...tiles].map(([label, value]) => el('div', {}, el('dt', {}, label), el('dd', {}, value))));
  const filter = el('input', { type: 'search', id: 'filter', placeholder: 'Filter by name', autocomplete: 'off' });
  const sort = el('select', { id: 'sort' }, ...Object.keys(SORTS).map((name) => el('option', {}, name)));
  const bar = el('div', { class: 'bar' }, el('label', { for: 'filter', class: 'unseen' }, 'Filter by name'), filter, el('label', { for: 'sort' }, 'Sort'), sort);
  const list = el('ul', { class: 'streams' });
  const empty = el('div', { class: 'empty', hidden: true });
  const items = new Map<string, Item>();
  let order = '';

  const render = () => {
    const totals = live.totals[live.totals.length - 1];
    if (totals) {
      const values = [String(totals.streams), String(totals.viewers), bits(totals.bitrate_in), bits(totals.bitrate_out), `${totals.cpu_percent.toFixed(0)} %`, bytes(totals.memory_bytes)];
      [...tiles.values()].forEach((place, i) => text(place, values[i] ?? ''));
    }
    for (const [name, item] of items) {
      if (!live.rows.has(name)) {
        item.element.remove();
        items.delete(name);
      }
    }
    const wanted = filter.value.trim().toLowerCase();
    const rows = [...live.rows.values()].filter((row) => row.name.toLowerCase().includes(wanted)).sort(SORTS[sort.value]);
    for (const row of rows) {
      const item = items.get(row.name) ?? new Item(row.name);
      items.set(row.name, item);
      item.show(row, live.history.get(row.name) ?? []);
    }
    // Elements are moved only when the order is another: a focused row must not lose its focus every second.
    const now = rows.map((row) => row.name).join('/');
    if (now !== order) {
      order = now;
      const wantedItems = rows.flatMap((row) => items.get(row.name)?.element ?? []);
      wantedItems.forEach((element, i) => {
        if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
      });
      while (list.children.length > wantedItems.length) list.lastElementChild?.remove();
    }
    toggle(empty, live.rows.size > 0 || !live.connected);
    toggle(bar, live.rows.size === 0);
  };
  void api.get<Version>('/version').then((version) => {
    empty.append(el('h2', {}, 'Nothing is live'), el('p', {}, version.open ? 'No key has been made yet, so only this machine may publish. Make one under Keys for everybody else.' : 'Publish with one of your keys:'), recipes(reach(version), 'myshow', version.open ? null : 'SECRET'));
  }).catch(() => undefined);
  filter.addEventListener('input', render);
  sort.addEventListener('change', render);
  const stop = live.follow(render);
  return { title: 'Streams', element: el('section', {}, el('h1', {}, 'Streams'), summary, bar, list, empty), stop };
}

class Item {
  private readonly picture = el('img', { class: 'still', alt: '', width: 128, height: 72, loading: 'lazy', decoding: 'async' });
  private readonly state = chip();
  private readonly since = el('span', { class: 'soft' });
  private readonly rate = el('b');
  private readonly fps = el('span', { class: 'soft' });
  private readonly viewers = el('b');
  private readonly finding = el('p', { class: 'finding' });
  private readonly spark = new Sparkline();
  private still = 0;
  readonly element: HTMLLIElement;

  constructor(private readonly name: string) {
    const link = el('a', { href: at`#/streams/${name}`, class: 'name' }, name);
    const rate = el('span', { class: 'rate' }, this.rate, this.fps);
    rate.prepend(this.spark.element);
    this.element = el(
      'li', { 'data-stream': name },
      this.picture,
      el('div', { class: 'what' }, link, el('span', { class: 'line' }, this.state.element, this.since), this.finding),
      rate,
      el('span', { class: 'viewers' }, this.viewers, el('span', { class: 'soft' }, ' watching')),
    );
  }

  show(row: Row, history: number[]): void {
    attribute(this.element, 'data-health', row.health);
    this.state.show(row.state);
    text(this.since, `${row.protocol.toUpperCase()} · ${span(Date.now() - row.since_ms)}`);
    text(this.rate, bits(row.bitrate));
    text(this.fps, `${row.fps.toFixed(row.fps % 1 ? 1 : 0)} fps`);
    text(this.viewers, String(row.viewers));
    toggle(this.finding, row.finding === null);
    text(this.finding, row.finding ?? '');
    this.spark.draw(history, HISTORY);
    if (row.still_ms !== null && row.still_ms !== this.still) {
      this.still = row.still_ms;
      // Only what is on the screen is asked for again.
      const { top, bottom } = this.element.getBoundingClientRect();
      if (!this.picture.hasAttribute('src') || (bottom > 0 && top < innerHeight)) this.picture.src = `${ROOT}${at`/streams/${this.name}/still.jpg?at=${String(row.still_ms)}`}`;
    }
  }
}
