// One stream: its picture, what is wrong and how to mend it, its last five minutes, its rungs, who watches, what happened.

import { copyable } from '../../ui/copy';
import { el, text, toggle } from '../../ui/dom';
import { icon } from '../../ui/icons';
import { api, at, Problem, reach, ROOT, type Happened, type Sample, type Stream, type Version } from '../api';
import { act, ask, prompt } from '../ask';
import { bits, count, span } from '../format';
import { TimeGraph } from '../graph';
import type { Live } from '../live';
import { button, chip, findings, health, table } from '../parts';
import { rotator } from '../secret';
import type { View } from '../view';
import { Timeline } from './timeline';

export function streamView(live: Live, name: string): View {
  const path = at`/streams/${name}`;
  const state = chip();
  const status = el('span', { class: 'status' }, state.element);
  const facts = el('p', { class: 'soft' });
  const stage = el('div', { class: 'stage' });
  const wrong = el('section', { class: 'card', 'aria-label': 'Findings' });
  const graphs = {
    bitrate: new TimeGraph('Bit rate', bits, 1e6),
    fps: new TimeGraph('Frame rate', (value) => `${value.toFixed(0)} fps`, 30),
    gop_s: new TimeGraph('Key frame distance', (value) => `${value.toFixed(1)} s`, 2),
    viewers: new TimeGraph('Viewers', (value) => value.toFixed(0), 5),
  };
  const details = el('div', { class: 'details' });
  const gone = el('p', { class: 'bad', hidden: true }, 'This stream is not on the air.');
  const timeline = new Timeline();
  let samples: Sample[] = [];
  let gop = 0;
  let busy = false;

  // Only where a key let the publisher in.
  let key: string | null = null;
  const rotate = rotator('Rotate key…', () => ({ id: key ?? '', name: `the key of ${name}` }), () => refresh());
  toggle(rotate, true);

  const refresh = async () => {
    if (busy) return;
    busy = true;
    try {
      const stream = await api.get<Stream>(path);
      toggle(gone, true);
      show(stream);
    } catch (error) {
      if (error instanceof Problem && error.status === 404) toggle(gone, false);
    } finally {
      busy = false;
    }
  };
  const show = (stream: Stream) => {
    state.show(stream.state);
    status.replaceChildren(state.element, health(stream.health));
    const { protocol, peer, client } = stream.publisher;
    key = stream.publisher.key;
    toggle(rotate, key === null);
    text(facts, `${protocol.toUpperCase()} from ${peer}${client && ` (${client})`}${key === null ? '' : `, key ${key}`} · ${span(Date.now() - stream.since_ms)} · ${count(stream.sessions, 'publishing session')}`);
    wrong.replaceChildren(el('h2', {}, 'What is wrong'), findings(stream.findings));
    gop = stream.ingest.gop_s;
    // A list that is open under somebody's finger stays as it is.
    if (!details.contains(document.activeElement)) details.replaceChildren(tracks(stream), watching(stream), ladder(stream, path, refresh), renditions(stream));
    if (stream.still && stage.childElementCount === 0) stage.append(el('img', { alt: `A recent picture of ${name}`, src: `${ROOT}${path}/still.jpg?at=${Date.now()}` }));
  };

  const actions = el('div', { class: 'actions' });
  void api.get<Version>('/version').then((version) => {
    const { http } = reach(version);
    const preview = button('Preview');
    preview.addEventListener('click', () => {
      stage.replaceChildren(el('iframe', { src: `${http}/embed/${name}`, title: `Preview of ${name}`, allow: 'autoplay; fullscreen' }));
      preview.disabled = true;
    });
    const link = copyable(el('button', { type: 'button', class: 'button small quiet' }, icon('copy'), 'Copy watch link'), () => `${http}/watch/${name}`);
    actions.prepend(preview, link, el('a', { class: 'button small quiet', href: `${http}/watch/${name}`, target: '_blank', rel: 'noopener' }, 'Open'));
  }).catch(() => undefined);
  const mark = button('Mark…');
  mark.addEventListener('click', () => void prompt('Put a mark among the events', 'What happens now?', 'Mark', 200).then((value) => {
    if (value) void act(mark, () => api.post(`${path}/mark`, { text: value }), 'Marked.');
  }));
  const kick = button('Kick publisher…', 'danger');
  kick.addEventListener('click', () => void ask(`Kick the publisher of ${name}?`, 'Its connection is closed. It may come back; viewers wait for it.', 'Kick').then((yes) => {
    if (yes) void act(kick, () => api.post(`${path}/kick`), 'The publisher was sent away.').then(refresh);
  }));
  const end = button('End stream…', 'danger');
  end.addEventListener('click', () => void ask(`End ${name}?`, 'Its publisher is closed and its viewers are told that the show is over.', 'End').then((yes) => {
    if (yes) void act(end, () => api.post(`${path}/end`), 'The stream is over.').then(refresh);
  }));
  actions.append(mark, rotate, kick, end);

  const draw = () => {
    for (const [key, graph] of Object.entries(graphs)) graph.draw(samples.map((sample) => sample[key as keyof typeof graphs]));
  };
  // The past once, then the list's own messages; the rest of the stream every other second, while somebody looks.
  void api.get<{ samples: Sample[] }>(`${path}/history`).then((history) => {
    samples = history.samples;
    draw();
  }).catch(() => undefined);
  let second = 0;
  const unfollow = live.follow(() => {
    const row = live.rows.get(name);
    if (row) samples = [...samples, { t: Date.now(), bitrate: row.bitrate, fps: row.fps, gop_s: gop, viewers: row.viewers }].slice(-HISTORY);
    draw();
    if (second++ % 2 === 0 && document.visibilityState === 'visible') void refresh();
  });
  const source = new EventSource(`${ROOT}/events?stream=${encodeURIComponent(name)}&after=0`);
  source.addEventListener('happened', (event) => timeline.add(JSON.parse(event.data as string) as Happened));
  const element = el(
    'section', { class: 'stream' },
    el('p', {}, el('a', { href: '#/streams' }, '← Streams')),
    el('header', {}, el('h1', {}, name), status),
    facts, gone, actions,
    el('div', { class: 'halves' }, stage, wrong),
    el('div', { class: 'graphs' }, ...Object.values(graphs).map((graph) => graph.element)),
    details,
    el('section', { class: 'card' }, el('h2', {}, 'What happened'), timeline.element),
  );
  return {
    title: name,
    element,
    stop: () => {
      unfollow();
      source.close();
    },
  };
}

/** Samples of five minutes. */
const HISTORY = 300;

function card(title: string, ...content: Node[]): HTMLElement {
  return el('section', { class: 'card' }, el('h2', {}, title), ...content);
}

function tracks(stream: Stream): HTMLElement {
  const rows = stream.tracks.map((track) => [
    track.kind === 'video' ? 'Pictures' : 'Sound',
    track.codec,
    track.kind === 'video' ? `${track.width}×${track.height}` : `${track.rate} Hz, ${track.channels} channel${track.channels === 1 ? '' : 's'}`,
    track.codecs,
  ]);
  const { repairs, dropped } = stream.ingest;
  return card('Tracks', table('Tracks', ['Track', 'Codec', 'Format', 'Codec string'], rows), ...loudness(stream), el('p', { class: 'soft' }, `${count(repairs, 'timestamp')} set right, ${count(dropped, 'frame')} not used.`));
}

/** One line; nothing before the sound was measured. */
function loudness({ sound }: Stream): HTMLElement[] {
  if (sound === null) return [];
  const level = (db: number) => (db <= SILENCE_DB ? 'silence' : `${db.toFixed(1)} dBFS`);
  const clipped = sound.clipped > 0 ? `, ${(sound.clipped * 100).toFixed(sound.clipped < 0.001 ? 3 : 1)} % clipped` : '';
  return [el('p', {}, `Loudness: ${level(sound.rms_db)}, peak ${level(sound.peak_db)}${clipped}, ${span(Date.now() - sound.at_ms)} ago.`)];
}

/** Less is not told apart. */
const SILENCE_DB = -120;

function watching({ viewers, name, targets }: Stream): HTMLElement {
  const behind = (ms: number | undefined) => (ms === undefined ? '' : `${(ms / 1000).toFixed(1)} s`);
  const rows = [
    ['LL-HLS', String(viewers.low_latency), behind(targets?.hold_back_ms)],
    ['HLS', String(viewers.hls - viewers.low_latency), behind(targets === null ? undefined : targets.segment_s * ORDINARY_TARGETS * 1000)],
    ['WebRTC', String(viewers.whep), 'its link’s delay'],
    ['Most at a time', String(viewers.peak), ''],
  ];
  return card('Viewers', table('Viewers', ['By', 'Now', 'Behind by'], rows), el('p', {}, el('a', { href: at`#/sessions/${name}` }, 'Who they are')));
}

/** Target durations that a player without parts stays behind (RFC 8216 section 6.3.3). */
const ORDINARY_TARGETS = 3;

function ladder(stream: Stream, path: string, refresh: () => Promise<void>): HTMLElement {
  if (stream.ladder === null) return card('Ladder', el('p', { class: 'soft' }, 'No rungs are made of this stream.'));
  const rows = stream.ladder.rungs.map((rung) => {
    const state = chip();
    state.show(rung.state);
    const order = el('select', { 'aria-label': `Rung ${rung.name}` }, ...['auto', 'start', 'stop'].map((value) => el('option', { value, selected: value === rung.order }, ORDERS[value] ?? value)));
    order.addEventListener('change', () => {
      order.blur();
      void act(document.createElement('button'), () => api.post(`${path}${at`/rungs/${rung.name}/${order.value}`}`), `${rung.name}: ${ORDERS[order.value]}.`).then(refresh);
    });
    const behind = `${(rung.lag * 1000).toFixed(0)} ms behind`;
    const work = rung.height > 0 ? `${rung.fps.toFixed(0)} fps, ${rung.encode_ms.toFixed(1)} ms, ${behind}` : behind;
    const load = rung.state === 'live' ? work : '';
    return [rung.name, state.element, rung.height > 0 ? `${rung.width}×${rung.height}` : 'sound', rung.bitrate > 0 ? bits(rung.bitrate) : '', load, rung.encoder, String(rung.dropped), order];
  });
  const notes = [stream.ladder.advice, stream.ladder.trouble?.what].flatMap((note) => (note == null ? [] : [el('p', { class: 'remedy' }, note)]));
  return card('Ladder', table('Rungs', ['Rung', 'State', 'Size', 'Bit rate', 'Work', 'Encoder', 'Dropped', 'Order'], rows), ...notes);
}

const ORDERS: Record<string, string> = { auto: 'as watched', start: 'always on', stop: 'off' };

function renditions({ renditions: list, targets }: Stream): HTMLElement {
  const time = (ms: number | null) => (ms === null ? '' : `${ms} ms`);
  const rows = list.map((one) => {
    const late = targets !== null && (one.worst_ms ?? 0) > targets.part_ms * LATE_PARTS;
    return [one.name, `${one.msn}.${one.part}`, time(one.typical_ms), el('span', { class: late ? 'bad' : '' }, time(one.worst_ms)), time(one.age_ms)];
  });
  const promise = targets === null ? [] : [el('p', { class: 'soft' }, `Segments of up to ${targets.segment_s} s in parts of ${targets.part_ms} ms.`)];
  return card('Packager', table('Packager', ['Rendition', 'Newest part', 'Part every', 'Longest wait', 'Since the newest'], rows), ...promise);
}

/** A wait of so many parts is as much as players hold back. */
const LATE_PARTS = 3;
