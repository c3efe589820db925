// How the server does: load, memory, connections, what it encodes with, what was dropped; and its farewell.

import { el, text } from '../../ui/dom';
import { api, type Server } from '../api';
import { act, ask } from '../ask';
import { bits, bytes, date, span } from '../format';
import { TimeGraph } from '../graph';
import type { Live, Totals } from '../live';
import { button, table } from '../parts';
import type { View } from '../view';

export function serverView(live: Live): View {
  const graphs = {
    cpu_percent: new TimeGraph('CPU (of one core)', (value) => `${value.toFixed(0)} %`, 10),
    memory_bytes: new TimeGraph('Memory', bytes, 64 << 20),
    bitrate_in: new TimeGraph('Coming in', bits, 1e6),
    bitrate_out: new TimeGraph('Going out', bits, 1e6),
    viewers: new TimeGraph('Viewers', (value) => value.toFixed(0), 5),
  };
  const details = el('div', { class: 'details' });
  const about = el('p', { class: 'soft' });
  let second = 0;
  const load = async () => {
    const server = await api.get<Server>('/server');
    text(about, `Headwater ${server.version}, process ${server.pid}, running since ${date(server.started_ms)} (${span(server.uptime_s * 1000)}).`);
    const { connections, budget, encoder, drops } = server;
    const limits = [
      ['HTTP connections', String(connections.http)],
      ['RTMP connections', String(connections.rtmp)],
      ['WebRTC sessions', String(connections.webrtc)],
      ['Media in memory', `${bytes(budget.used)} of ${bytes(budget.limit)}`],
      ['Open files', `${server.open_files} of ${server.max_files}`],
      ['Cores', String(server.cores)],
      ['Encoder in use', encoder.chosen ?? 'none: no ladders'],
      ['Encoders to fall back to', encoder.fallbacks.join(', ') || 'none'],
    ];
    const lost = Object.entries(drops).map(([name, count]) => [words(name), String(count)]);
    details.replaceChildren(
      el('section', { class: 'card' }, el('h2', {}, 'Limits'), table('Limits', ['What', 'Now'], limits)),
      el('section', { class: 'card' }, el('h2', {}, 'Dropped and refused'), lost.length === 0 ? el('p', { class: 'soft' }, 'Nothing since the start.') : table('Dropped and refused', ['What', 'Times'], lost)),
    );
  };
  const stop = live.follow(() => {
    for (const [key, graph] of Object.entries(graphs)) graph.draw(live.totals.map((totals) => totals[key as keyof typeof graphs]));
    if (second++ % 5 === 0) void load().catch(() => undefined);
  });
  void api.get<{ samples: Totals[] }>('/server/history').then(({ samples }) => live.remember(samples)).catch(() => undefined);
  const drain = button('Drain…', 'danger');
  drain.addEventListener('click', () => void ask('Drain the server?', 'Publishers are told to go, viewers may finish, and the process ends. A service manager may start it again.', 'Drain').then((yes) => {
    if (yes) void act(drain, () => api.post('/drain'), 'The server is draining.');
  }));
  const element = el('section', {}, el('header', {}, el('h1', {}, 'Server'), drain), about, el('div', { class: 'graphs' }, ...Object.values(graphs).map((graph) => graph.element)), details);
  return { title: 'Server', element, stop };
}

/** `rtmp_refused_total{reason="bad_key"}` in words: `rtmp refused: bad key`. */
function words(series: string): string {
  const [name = '', labels = ''] = series.split('{');
  const values = [...labels.matchAll(/"([^"]*)"/g)].map(([, value]) => value);
  return [name.replace(/_total$/, ''), ...(values.length > 0 ? [values.join(', ')] : [])].join(': ').replaceAll('_', ' ');
}
