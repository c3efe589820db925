// All streams as they are, kept up to date by one stream of server-sent events. Views follow it; nothing polls.

import { ROOT, type Health } from './api';

export interface Row {
  name: string; state: string; protocol: string; since_ms: number; bitrate: number; fps: number; viewers: number;
  health: Health; finding: string | null; still_ms: number | null;
}
export interface Totals { streams: number; viewers: number; bitrate_in: number; bitrate_out: number; cpu_percent: number; memory_bytes: number }

/** Seconds of history that sparklines show. */
export const HISTORY = 60;

export class Live {
  readonly rows = new Map<string, Row>();
  /** The last minute's bit rates of each stream. */
  readonly history = new Map<string, number[]>();
  readonly totals: Totals[] = [];
  connected = false;
  private remembered = false;
  private source: EventSource | null = null;
  private readonly followers = new Set<() => void>();

  /** What the server did before this page was open; the oldest second first. */
  remember(totals: Totals[]): void {
    if (this.remembered) return;
    this.remembered = true;
    const room = MOST_TOTALS - this.totals.length;
    if (room > 0) this.totals.unshift(...totals.slice(0, Math.max(0, totals.length - this.totals.length)).slice(-room));
  }

  /** Calls back after each message; gives what ends that. */
  follow(changed: () => void): () => void {
    this.followers.add(changed);
    changed();
    return () => this.followers.delete(changed);
  }

  start(): void {
    if (this.source !== null) return;
    const source = new EventSource(`${ROOT}/live`);
    let whole = true;
    source.addEventListener('open', () => {
      whole = true;
      this.connected = true;
    });
    source.addEventListener('rows', (event) => {
      this.take(JSON.parse(event.data as string) as { rows: Row[]; gone: string[]; totals: Totals }, whole);
      whole = false;
    });
    source.addEventListener('error', () => {
      this.connected = false;
      this.tell();
      // A browser gives up after an answer that is no stream, such as a login that has ended.
      if (source.readyState === EventSource.CLOSED) {
        this.stop();
        setTimeout(() => dispatchEvent(new Event('unauthorised')), AGAIN_MS);
      }
    });
    this.source = source;
  }

  stop(): void {
    this.source?.close();
    this.source = null;
    this.connected = false;
  }

  private take(message: { rows: Row[]; gone: string[]; totals: Totals }, whole: boolean): void {
    if (whole) this.rows.clear();
    for (const name of message.gone) this.rows.delete(name);
    for (const row of message.rows) this.rows.set(row.name, row);
    for (const name of this.history.keys()) if (!this.rows.has(name)) this.history.delete(name);
    for (const row of this.rows.values()) {
      const past = this.history.get(row.name) ?? [];
      past.push(row.bitrate);
      if (past.length > HISTORY) past.shift();
      this.history.set(row.name, past);
    }
    this.totals.push(message.totals);
    if (this.totals.length > MOST_TOTALS) this.totals.shift();
    this.tell();
  }

  private tell(): void {
    for (const changed of this.followers) changed();
  }
}

const AGAIN_MS = 2_000;
/** Five minutes. */
const MOST_TOTALS = 300;
