// Who publishes and who watches, and sending one away.

import { el, text } from '../../ui/dom';
import { api, at, type Session } from '../api';
import { act, ask } from '../ask';
import { bits, span } from '../format';
import { button, table } from '../parts';
import type { View } from '../view';

export function sessionsView(stream = ''): View {
  const filter = el('input', { id: 'stream', type: 'search', value: stream, placeholder: 'All streams', autocomplete: 'off', pattern: '[A-Za-z0-9_.\\-]*' });
  const protocol = el('select', { id: 'protocol' }, ...PROTOCOLS.map(([value, label]) => el('option', { value }, label)));
  const count = el('p', { class: 'soft', role: 'status' });
  const list = el('div');
  const more = button('Show more');
  let shown = PAGE;

  const load = async () => {
    const query = new URLSearchParams({ limit: String(shown) });
    if (filter.value.trim() !== '' && filter.validity.valid) query.set('stream', filter.value.trim());
    if (protocol.value !== '') query.set('protocol', protocol.value);
    const { sessions, total } = await api.get<{ sessions: Session[]; total: number }>(`/sessions?${query}`);
    text(count, `${sessions.length} of ${total} session${total === 1 ? '' : 's'}`);
    more.hidden = sessions.length >= total;
    list.replaceChildren(total === 0 ? el('p', { class: 'empty' }, 'Nobody publishes or watches.') : table('Sessions', HEADS, sessions.map((session) => row(session, load))));
  };
  const again = button('Refresh');
  again.addEventListener('click', () => void act(again, load, 'Up to date.'));
  more.addEventListener('click', () => {
    shown = Math.min(shown + PAGE, MOST);
    void load();
  });
  filter.addEventListener('change', () => void load());
  protocol.addEventListener('change', () => void load());
  void load().catch(() => undefined);
  const bar = el('div', { class: 'bar' }, el('label', { for: 'stream' }, 'Stream'), filter, el('label', { for: 'protocol' }, 'Protocol'), protocol, again);
  return { title: 'Sessions', element: el('section', {}, el('h1', {}, 'Sessions'), bar, count, list, more) };
}

function row(session: Session, load: () => Promise<void>): (Node | string)[] {
  const end = button('End…', 'danger');
  end.setAttribute('aria-label', `End the session of ${session.peer}`);
  end.addEventListener('click', () => void ask(`End the session of ${session.peer}?`, session.role === 'publisher' ? 'The publisher is closed; it may come back.' : 'The viewer is sent away for a while.', 'End').then((yes) => {
    if (yes) void act(end, () => api.delete(at`/sessions/${session.id}`), 'The session was ended.').then(load);
  }));
  const behind = session.latency_ms === null ? '' : session.latency_ms < 100 ? `${session.latency_ms.toFixed(0)} ms` : `${(session.latency_ms / 1000).toFixed(1)} s`;
  const link = [session.rtt_ms === null ? '' : `${session.rtt_ms.toFixed(0)} ms round trip`, session.loss ? `${(session.loss * 100).toFixed(1)} % lost` : '', session.trouble ?? ''].filter(Boolean).join(', ');
  return [
    el('a', { href: at`#/streams/${session.stream}` }, session.stream),
    `${session.role}, ${session.protocol.toUpperCase()}`, session.peer, session.client,
    span(Date.now() - session.since_ms), session.rung ?? '', session.bitrate === null ? '' : bits(session.bitrate), behind, link, end,
  ];
}

const HEADS = ['Stream', 'Role', 'From', 'Client', 'For', 'Rendition', 'Bit rate', 'Behind by', 'Link', ''];
const PROTOCOLS = [['', 'All'], ['rtmp', 'RTMP'], ['rtmps', 'RTMPS'], ['whip', 'WHIP'], ['whep', 'WebRTC viewers'], ['hls', 'HLS viewers']] as const;
const PAGE = 100;
const MOST = 1000;
