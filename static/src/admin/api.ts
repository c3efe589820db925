// Calls of the admin API, as /api/v1/openapi.json has them. The cookie goes along by itself; the header says that it is
// this page which asks.

export interface Finding { code: string; severity: 'info' | 'warning' | 'problem'; text: string; remedy: string; since_ms: number | null }
export interface Me { via: string }
export interface Rung {
  name: string; state: string; order: string; width: number; height: number; bitrate: number; encoder: string; fps: number;
  encode_ms: number; lag: number; queue: number; dropped: number; misses: number;
}
export interface Rendition { name: string; msn: number; part: number; age_ms: number | null; typical_ms: number | null; worst_ms: number | null }
export interface Track { kind: string; codec: string; codecs: string; width: number | null; height: number | null; channels: number | null; rate: number | null }
export interface Stream {
  name: string; state: string; since_ms: number; sessions: number; frames: number; bytes: number; still: boolean;
  publisher: { protocol: string; peer: string; client: string; key: string | null };
  sound: { peak_db: number; rms_db: number; clipped: number; at_ms: number } | null;
  tracks: Track[]; renditions: Rendition[];
  targets: { segment_s: number; part_ms: number; hold_back_ms: number } | null;
  ladder: { rungs: Rung[]; advice: string | null; trouble: { what: string; since_ms: number } | null; restarts: number; given_up: number; memory: number } | null;
  ingest: { bitrate: number; fps: number; gop_s: number; repairs: number; dropped: number };
  viewers: { hls: number; low_latency: number; whep: number; peak: number }; health: Health; findings: Finding[];
}
export type Health = 'good' | 'warning' | 'problem';
export interface Sample { t: number; bitrate: number; fps: number; gop_s: number; viewers: number }
export interface Session {
  id: string; stream: string; protocol: string; role: string; peer: string; client: string; since_ms: number; rung: string | null;
  bitrate: number | null; rtt_ms: number | null; latency_ms: number | null; loss: number | null; trouble: string | null;
}
export interface Key { id: string; label: string; stream: string | null; grant: string; made_ms: number | null; used_ms: number | null; origin: string }
export interface Version { version: string; started_ms: number; uptime_s: number; public_url: string; http_port: number; rtmp_port: number; webrtc: boolean; open: boolean }
export interface Server extends Version {
  pid: number; cpu_percent: number; cores: number; memory_bytes: number; open_files: number; max_files: number;
  connections: { http: number; rtmp: number; webrtc: number }; budget: { used: number; limit: number };
  drops: Record<string, number>; encoder: { chosen: string | null; fallbacks: string[] };
}
export interface Entry { at_ms: number; who: string; from: string; action: string; target: string; outcome: string }
export interface Happened { id: number; at_ms: number; stream: string | null; kind: string; data: Record<string, unknown> }

export interface Option { name: string; value: string; default: string; origin: string; about: string; live: boolean; when: string; running?: string }
export interface Change { option: string; from: string; to: string; live: boolean; when: string }
export interface Tried { ok: boolean; errors: { option: string; problem: string }[]; diff: Change[] }

/** Why a call was refused, in the server's words. */
export class Problem extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail);
  }
}

export const ROOT = '/api/v1';

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { 'X-Headwater': '1' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await fetch(ROOT + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  if (response.ok) return (response.headers.get('content-type')?.includes('json') ? await response.json() : undefined) as T;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string };
  // A login that has ended leads back to the form, wherever it is noticed.
  if (response.status === 401 && path !== '/login' && path !== '/me') dispatchEvent(new Event('unauthorised'));
  throw new Problem(response.status, problem.detail ?? `the server answered ${response.status}`);
}

export const api = {
  get: <T>(path: string) => call<T>('GET', path),
  post: <T>(path: string, body?: unknown) => call<T>('POST', path, body),
  delete: (path: string) => call<void>('DELETE', path),
};

/** A path of names that may have any character. */
export function at(strings: TemplateStringsArray, ...names: string[]): string {
  return strings.reduce((path, part, i) => path + encodeURIComponent(names[i - 1] ?? '') + part);
}

/** Where broadcasters and viewers find the server, as far as this page can tell. */
export function reach(version: Version): { http: string; rtmp: string } {
  const http = version.public_url || `${location.protocol}//${location.hostname}:${version.http_port}`;
  return { http, rtmp: `rtmp://${new URL(http).hostname}:${version.rtmp_port}/live` };
}
