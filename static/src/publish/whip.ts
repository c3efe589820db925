// A WHIP client (RFC 9725): offers what was captured, keeps it on the air, and tells how it goes. When the connection breaks
// it comes back by itself until it is told to stop.

import { Backoff } from '../player/backoff';
import { stereo } from '../player/whep';

/** Something that is wrong with the stream, in the server's words. */
export interface Finding {
  code: string;
  severity: 'info' | 'warning' | 'problem';
  text: string;
  remedy: string;
}

export type State = 'off' | 'connecting' | 'live' | 'reconnecting' | 'refused';

/** Since the last look, about a second ago. */
export interface Health {
  /** Bit/s that leave. */
  bitrate: number;
  fps: number;
  width: number;
  height: number;
  /** Part of the packets that the server missed, 0 to 1. */
  loss: number;
  /** Milliseconds. */
  roundTrip: number;
  codec: string;
  /** What holds the picture back: nothing, the link or the processor. */
  limited: string;
}

export interface Target {
  url: string;
  key: string;
  /** Bit/s. */
  bitrate: number;
}

export class Whip {
  state: State = 'off';
  /** Why it is refused, in the server's words. */
  reason = '';
  private connection: RTCPeerConnection | null = null;
  private location: string | null = null;
  private readonly waits = new Backoff(1_000, 15_000);
  private retry = 0;
  private seen = { at: 0, bytes: 0 };

  constructor(
    private readonly stream: MediaStream,
    private readonly target: Target,
    private readonly changed: () => void,
  ) {
    void this.connect();
  }

  /** Ends the broadcast. */
  stop(): void {
    clearTimeout(this.retry);
    this.leave();
    this.become('off');
  }

  async health(): Promise<Health | null> {
    const { connection } = this;
    if (!connection || this.state !== 'live') return null;
    const health: Health = { bitrate: 0, fps: 0, width: 0, height: 0, loss: 0, roundTrip: 0, codec: '', limited: 'none' };
    let bytes = 0;
    const report = await connection.getStats();
    report.forEach((stats: RTCStats & Record<string, unknown>) => {
      if (stats.type === 'outbound-rtp') {
        bytes += Number(stats['bytesSent'] ?? 0);
        if (stats['kind'] !== 'video') return;
        health.fps = Number(stats['framesPerSecond'] ?? 0);
        health.width = Number(stats['frameWidth'] ?? 0);
        health.height = Number(stats['frameHeight'] ?? 0);
        health.limited = String(stats['qualityLimitationReason'] ?? 'none');
        const codec = report.get(String(stats['codecId'])) as { mimeType?: string } | undefined;
        health.codec = codec?.mimeType?.replace(/^.*\//, '') ?? '';
      }
      if (stats.type === 'remote-inbound-rtp') {
        health.loss = Math.max(health.loss, Number(stats['fractionLost'] ?? 0));
        health.roundTrip = Math.max(health.roundTrip, Number(stats['roundTripTime'] ?? 0) * 1000);
      }
      if (stats.type === 'candidate-pair' && stats['nominated'] === true) {
        health.roundTrip = Math.max(health.roundTrip, Number(stats['currentRoundTripTime'] ?? 0) * 1000);
      }
    });
    const now = performance.now();
    const seconds = (now - this.seen.at) / 1000;
    if (this.seen.at > 0 && seconds > 0) health.bitrate = ((bytes - this.seen.bytes) * 8) / seconds;
    this.seen = { at: now, bytes };
    return health;
  }

  /** What the server finds wrong with what comes; empty while nothing is known. */
  async findings(): Promise<Finding[]> {
    if (this.location === null || this.state !== 'live') return [];
    const response = await fetch(`${this.location}/status`).catch(() => null);
    if (!response?.ok) return [];
    const status = (await response.json().catch(() => ({}))) as { findings?: Finding[] };
    return Array.isArray(status.findings) ? status.findings : [];
  }

  private async connect(): Promise<void> {
    this.leave();
    const connection = new RTCPeerConnection();
    this.connection = connection;
    this.seen = { at: 0, bytes: 0 };
    connection.addEventListener('connectionstatechange', () => {
      if (connection !== this.connection) return;
      const state = connection.connectionState;
      if (state === 'connected') {
        this.waits.reset();
        this.become('live');
      } else if (state === 'failed' || state === 'closed') this.again();
      else if (state === 'disconnected') this.become('reconnecting');
    });
    for (const track of this.stream.getTracks()) {
      const encodings = track.kind === 'video' ? [{ maxBitrate: this.target.bitrate }] : [{}];
      connection.addTransceiver(track, { direction: 'sendonly', streams: [this.stream], sendEncodings: encodings });
    }
    try {
      await connection.setLocalDescription();
      const headers: Record<string, string> = { 'content-type': 'application/sdp' };
      if (this.target.key !== '') headers['authorization'] = `Bearer ${this.target.key}`;
      const offer = stereo(connection.localDescription?.sdp ?? '');
      const response = await fetch(this.target.url, { method: 'POST', headers, body: offer });
      if (connection !== this.connection) return;
      if (response.status === 201) {
        this.location = response.headers.get('location');
        await connection.setRemoteDescription({ type: 'answer', sdp: await response.text() });
        return;
      }
      await this.refused(response);
    } catch {
      // No answer: the network, or the server, is gone for the moment.
      if (connection === this.connection) this.again();
    }
  }

  /** A refusal is final where trying again cannot help. */
  private async refused(response: Response): Promise<void> {
    const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
    this.reason = String(problem.detail ?? `the server answers ${response.status}`);
    if (response.status >= 500) this.again();
    else {
      this.leave();
      this.become('refused');
    }
  }

  private again(): void {
    this.leave();
    this.become('reconnecting');
    this.retry = window.setTimeout(() => void this.connect(), this.waits.next());
  }

  private leave(): void {
    const { connection, location } = this;
    this.connection = null;
    this.location = null;
    // The farewell first: a connection that just breaks is waited for.
    const farewell = location ? fetch(location, { method: 'DELETE', keepalive: true }).catch(() => undefined) : Promise.resolve();
    void farewell.then(() => connection?.close());
    if (this.state === 'off') this.state = 'connecting';
  }

  private become(state: State): void {
    if (this.state === state) return;
    this.state = state;
    this.changed();
  }
}
