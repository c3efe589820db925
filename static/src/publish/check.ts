// Tests the way to the server step by step, and says which step fails and what helps: HTTP, the key, ICE over UDP or TCP,
// DTLS. Sends a second of silence to a name of its own kind: to the stream's, with nothing in it that would go on the air.

export interface Step {
  title: string;
  good: boolean;
  detail: string;
}

/** Tells each step as it is done; ends after the first that fails. */
export async function check(url: string, key: string, tell: (step: Step) => void): Promise<void> {
  const options = await fetch(url, { method: 'OPTIONS' }).catch(() => null);
  const served = options !== null && (options.headers.get('accept-post') ?? '').includes('application/sdp');
  tell({
    title: 'The server answers',
    good: served,
    detail: served ? '' : options === null ? 'No answer: is the address right, and does the server run?' : 'It serves no WHIP (webrtc.enabled).',
  });
  if (!served) return;

  const connection = new RTCPeerConnection();
  try {
    // A section that sends nothing: it connects, and no stream begins.
    const sound = new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
    if (sound) connection.addTransceiver(sound, { direction: 'sendonly' });
    await connection.setLocalDescription();
    const headers: Record<string, string> = { 'content-type': 'application/sdp' };
    if (key !== '') headers['authorization'] = `Bearer ${key}`;
    const response = await fetch(`${url}?test`, { method: 'POST', headers, body: connection.localDescription?.sdp ?? '' });
    const text = await response.text();
    const allowed = response.status === 201;
    tell({ title: 'You may publish', good: allowed, detail: allowed ? '' : detailOf(text, response.status) });
    if (!allowed) return;
    await connection.setRemoteDescription({ type: 'answer', sdp: text });
    const { ice, dtls, path } = await settle(connection);
    tell({
      title: 'Media reaches the server',
      good: ice,
      detail: ice ? path : 'Neither UDP nor TCP gets through to the media port: open webrtc.listen in the firewall, and set webrtc.public_addresses behind NAT.',
    });
    if (!ice) return;
    tell({ title: 'The connection is secure', good: dtls, detail: dtls ? '' : 'The DTLS handshake did not finish: something on the way changes packets.' });
    const location = response.headers.get('location');
    if (location) await fetch(location, { method: 'DELETE' }).catch(() => undefined);
  } finally {
    connection.close();
  }
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
