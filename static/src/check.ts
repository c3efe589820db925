// Tests the way to the server step by step, and says which step fails and what helps: HTTP, the permission, ICE over UDP or
// TCP, DTLS, and for viewers that media comes. What it publishes is marked as a test, and does not go on the air.

import { el } from './ui/dom';

export interface Step {
  title: string;
  good: boolean;
  detail: string;
}

/** Which way: to publish at a WHIP address, with a key where the server asks for one, or to watch at a WHEP address. */
export type Way = { url: string; key: string; watch: false } | { url: string; watch: true };

/** Tests a way and lists the steps as they are done. */
export function listCheck(way: Way, list: HTMLElement): Promise<void> {
  list.replaceChildren();
  return check(way, ({ title, good, detail }) => {
    const result = good ? 'good' : 'bad';
    list.append(el('li', { 'data-result': result }, `${good ? '✓' : '✗'} ${title}${detail ? `: ${detail}` : ''}`));
  });
}

/** Tells each step as it is done; ends after the first that fails. */
async function check(way: Way, tell: (step: Step) => void): Promise<void> {
  const { url } = way;
  const options = await fetch(url, { method: 'OPTIONS' }).catch(() => null);
  const served = options !== null && (options.headers.get('accept-post') ?? '').includes('application/sdp');
  tell({
    title: 'The server answers',
    good: served,
    detail: served ? '' : options === null ? 'No answer: is the address right, and does the server run?' : 'It does not serve WebRTC (webrtc.enabled).',
  });
  if (!served) return;

  const connection = new RTCPeerConnection();
  let silence: AudioContext | null = null;
  let location: string | null = null;
  try {
    silence = offer(connection, way);
    await connection.setLocalDescription();
    const headers: Record<string, string> = { 'content-type': 'application/sdp' };
    if (!way.watch && way.key !== '') headers['authorization'] = `Bearer ${way.key}`;
    const response = await fetch(way.watch ? url : `${url}?test`, { method: 'POST', headers, body: connection.localDescription?.sdp ?? '' });
    const text = await response.text();
    const allowed = response.status === 201;
    tell({ title: way.watch ? 'The stream can be watched' : 'You may publish', good: allowed, detail: allowed ? '' : detailOf(text, response.status) });
    if (!allowed) return;
    location = response.headers.get('location');
    await connection.setRemoteDescription({ type: 'answer', sdp: text });
    const { ice, dtls, path } = await settle(connection);
    tell({
      title: 'Media reaches the server',
      good: ice,
      detail: ice ? path : 'Neither UDP nor TCP gets through to the media port: open webrtc.listen in the firewall, and set webrtc.public_addresses behind NAT.',
    });
    if (!ice) return;
    tell({ title: 'The connection is secure', good: dtls, detail: dtls ? '' : 'The DTLS handshake did not finish: something on the way changes packets.' });
    if (dtls && way.watch) {
      const flows = await mediaComes(connection);
      tell({ title: 'Pictures or sound come', good: flows, detail: flows ? '' : 'The way is free, and the stream sends nothing: is its broadcaster still there?' });
    }
  } finally {
    connection.close();
    void silence?.close();
    if (location) await fetch(location, { method: 'DELETE' }).catch(() => undefined);
  }
}

/** To watch: both kinds. To publish: a section that sends nothing: it connects, and no stream begins; gives what its track is
 * made by, to be closed. */
function offer(connection: RTCPeerConnection, way: Way): AudioContext | null {
  if (way.watch) {
    for (const kind of ['video', 'audio']) connection.addTransceiver(kind, { direction: 'recvonly' });
    return null;
  }
  const context = new AudioContext();
  const sound = context.createMediaStreamDestination().stream.getAudioTracks()[0];
  if (sound) connection.addTransceiver(sound, { direction: 'sendonly' });
  return context;
}

/** Packets of media have come, within some seconds. */
async function mediaComes(connection: RTCPeerConnection): Promise<boolean> {
  for (let looks = 0; looks < LOOKS; looks++) {
    let packets = 0;
    (await connection.getStats()).forEach((stats: RTCStats & Record<string, unknown>) => {
      if (stats.type === 'inbound-rtp') packets += Number(stats['packetsReceived'] ?? 0);
    });
    if (packets > 0) return true;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return false;
}

function detailOf(text: string, status: number): string {
  try {
    return String((JSON.parse(text) as { detail?: unknown }).detail ?? status);
  } catch {
    return `The server answers ${status}.`;
  }
}

async function settle(connection: RTCPeerConnection): Promise<{ ice: boolean; dtls: boolean; path: string }> {
  const done = () => ['connected', 'failed', 'closed'].includes(connection.connectionState);
  await new Promise<void>((resolve) => {
    const timer = window.setTimeout(resolve, PATIENCE_MS);
    connection.addEventListener('connectionstatechange', () => {
      if (!done()) return;
      clearTimeout(timer);
      resolve();
    });
  });
  const ice = ['connected', 'completed'].includes(connection.iceConnectionState);
  let path = '';
  (await connection.getStats()).forEach((stats: RTCStats & Record<string, unknown>) => {
    if (stats.type === 'remote-candidate') path = `over ${String(stats['protocol']).toUpperCase()} to port ${String(stats['port'])}`;
  });
  return { ice, dtls: connection.connectionState === 'connected', path };
}

const PATIENCE_MS = 10_000;
const LOOK_MS = 100;
/** Five seconds: an encoder may have to start first. */
const LOOKS = 50;
