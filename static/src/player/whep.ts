// The engine for real time: WHEP (draft-ietf-wish-whep) over WebRTC. The server chooses what to send, and when it says
// nothing for long the session goes back to HLS. Nothing is buffered, so nothing can be sought.

import { AUTO, type Engine, type EngineEvent, type Pictures, type Rung } from './engine';
import { rungsOf } from './variants';

export class WhepEngine implements Engine {
  readonly protocol = 'WebRTC';
  readonly chosen = AUTO;
  bandwidth = 0;
  rungs: Rung[] = [];
  codecs = '';
  /** Seconds from the server to the screen, as the browser counts them; null before it does. */
  latency: number | null = null;
  /** The picture stands, or the sound where there is no picture. */
  frozen = false;

  private readonly connection = new RTCPeerConnection();
  private readonly stream = new MediaStream();
  private readonly stop = new AbortController();
  private readonly startedAt = performance.now();
  private timer = 0;
  private location: string | null = null;
  private video: HTMLVideoElement | null = null;
  private seen = { count: -1, at: performance.now(), delay: 0, emitted: 0 };
  private askedAt = 0;
  private depicted = true;
  private begun = false;

  static supported(): boolean {
    return 'RTCPeerConnection' in window;
  }

  constructor(
    video: HTMLVideoElement | null,
    private readonly url: string,
    private readonly playlist: string,
    private tell: (event: EngineEvent) => void,
  ) {
    if (video) this.show(video);
    this.connection.addEventListener('track', (event) => this.stream.addTrack(event.track));
    this.connection.addEventListener('connectionstatechange', () => this.connected());
    void this.offer();
    this.timer = window.setInterval(() => void this.look(), LOOK_MS);
  }

  /** Somebody else is told from now on. */
  listen(tell: (event: EngineEvent) => void): void {
    this.tell = tell;
  }

  /** Pictures go here from now on. */
  show(video: HTMLVideoElement): void {
    this.video = video;
    video.srcObject = this.stream;
  }

  /** Pictures, or sound, have come. */
  get playing(): number {
    return this.rungs.findIndex((rung) => rung.key === 'source');
  }

  get flows(): boolean {
    return this.begun;
  }

  get pictures(): Pictures {
    return this.depicted ? 'shown' : 'none';
  }

  choose(): void {
    // The server chooses; another choice is another engine.
  }

  starved(): void {
    // The server knows from the viewer's reports.
  }

  destroy(): void {
    clearInterval(this.timer);
    this.stop.abort();
    this.connection.close();
    if (this.video?.srcObject === this.stream) this.video.srcObject = null;
    // Kept alive, so that the server learns of it also when the page goes.
    if (this.location) void fetch(this.location, { method: 'DELETE', keepalive: true }).catch(() => undefined);
  }

  private async offer(): Promise<void> {
    const { connection } = this;
    try {
      connection.addTransceiver('video', { direction: 'recvonly' });
      connection.addTransceiver('audio', { direction: 'recvonly' });
      await connection.setLocalDescription();
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { 'content-type': 'application/sdp' },
        body: stereo(connection.localDescription?.sdp ?? ''),
        signal: this.stop.signal,
      });
      if (response.status !== 201) return this.refused(response);
      this.location = response.headers.get('location');
      await connection.setRemoteDescription({ type: 'answer', sdp: await response.text() });
      void this.learn();
    } catch (error) {
      if (!this.stop.signal.aborted) this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** Off the air is not a failure; a server without WHEP, or without a codec for this browser, is. */
  private async refused(response: Response): Promise<void> {
    const problem = (response.headers.get('content-type') ?? '').startsWith('application/problem+json');
    const offAir = problem && response.status === 404;
    const text = problem ? String(((await response.json()) as { detail?: unknown }).detail ?? '') : response.statusText;
    if (this.stop.signal.aborted) return;
    if (offAir) this.tell({ kind: 'gone' });
    else this.fail(text);
  }

  private connected(): void {
    const state = this.connection.connectionState;
    if (state === 'failed' || state === 'closed') this.fail(`the connection is ${state}`);
  }

  private fail(reason: string): void {
    if (this.stop.signal.aborted) return;
    this.stop.abort();
    clearInterval(this.timer);
    this.tell({ kind: 'failed', reason });
  }

  /** What there is to choose from instead. */
  private async learn(): Promise<void> {
    try {
      const response = await fetch(this.playlist, { signal: this.stop.signal });
      if (!response.ok) return;
      this.rungs = rungsOf(await response.text());
      this.tell({ kind: 'rungs' });
    } catch {
      // Then there is no choice.
    }
  }

  /** Twice a second: does it flow, and how late is it? */
  private async look(): Promise<void> {
    if (this.stop.signal.aborted) return;
    let pictures: RTCInboundRtpStreamStats | null = null;
    let sound: RTCInboundRtpStreamStats | null = null;
    let trip = 0;
    const codecs: string[] = [];
    const report = await this.connection.getStats();
    report.forEach((stats: RTCStats) => {
      if (stats.type === 'inbound-rtp') {
        const inbound = stats as RTCInboundRtpStreamStats;
        if (inbound.kind === 'video') pictures = inbound;
        else sound = inbound;
        const codec = inbound.codecId ? (report.get(inbound.codecId) as { mimeType?: string } | undefined) : undefined;
        if (codec?.mimeType) codecs.push(codec.mimeType.replace(/^.*\//, ''));
      }
      if (stats.type === 'candidate-pair') {
        const pair = stats as RTCIceCandidatePairStats;
        if (pair.nominated) trip = pair.currentRoundTripTime ?? 0;
      }
    });
    if (!this.stop.signal.aborted) this.judge(pictures, sound, trip, codecs.join(', '));
  }

  /** Nothing comes: does the server still have this session? Browsers take half a minute to notice that it has not. */
  private async ask(): Promise<void> {
    if (!this.location) return;
    const status = await fetch(`${this.location}/status`, { cache: 'no-store', signal: this.stop.signal }).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 404) this.fail('the server ended the session');
  }

  private judge(pictures: RTCInboundRtpStreamStats | null, sound: RTCInboundRtpStreamStats | null, trip: number, codecs: string): void {
    const now = performance.now();
    const main = pictures ?? sound;
    const count = pictures ? (pictures.framesDecoded ?? 0) : (sound?.packetsReceived ?? 0);
    this.depicted = pictures !== null;
    this.codecs = codecs;
    if (count > this.seen.count && count > 0) {
      const emitted = main?.jitterBufferEmittedCount ?? 0;
      const delay = main?.jitterBufferDelay ?? 0;
      const passed = emitted - this.seen.emitted;
      if (passed > 0) this.latency = (delay - this.seen.delay) / passed + trip / 2 + FRAME;
      this.seen = { count, at: now, delay, emitted };
      this.begun = true;
      const at = this.video?.currentTime ?? 0;
      this.tell({ kind: 'window', window: { start: at, edge: now / 1000, holdBack: 0, part: LOOK_MS / 1000, live: true }, epoch: null });
    }
    this.frozen = this.begun && now - this.seen.at > FROZEN_MS;
    if (this.frozen && now - this.askedAt > ASK_MS) {
      this.askedAt = now;
      void this.ask();
    }
    if (!this.begun && now - this.startedAt > PATIENCE_MS) this.fail('no picture came over WebRTC');
  }
}

/** Browsers decode Opus to one channel unless the offer asks for two. */
export function stereo(sdp: string): string {
  return sdp.replace(/(a=fmtp:\d+ [^\r\n]*useinbandfec=1)(?![^\r\n]*stereo)/g, '$1;stereo=1');
}

const LOOK_MS = 500;
/** So long without a new picture is no jitter. */
const FROZEN_MS = 1_200;
/** Between questions to the server while nothing comes. */
const ASK_MS = 2_000;
/** From the offer to the first picture, the start of a rung included. */
const PATIENCE_MS = 8_000;
/** Decoding and showing take about one frame, in seconds. */
const FRAME = 0.03;
