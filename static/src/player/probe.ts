// Asks the server whether a stream is on the air: the multivariant playlist, and for the difference between live and over
// one media playlist. Called by the session while it waits; never while a player runs.

import { unnamed, variantsOf } from './variants';

export type Answer =
  | { kind: 'live' }
  /** Over, but still to be watched. */
  | { kind: 'over' }
  /** No such stream now. */
  | { kind: 'off' }
  /** The server says: soon. Seconds, where it named them. */
  | { kind: 'soon'; retryAfter: number | null }
  /** Not for this viewer, and why, in the server's words. */
  | { kind: 'refused'; reason: string }
  /** No answer, or one that makes no sense. */
  | { kind: 'unreachable' };

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

const REFUSALS = new Set([401, 403, 429]);

/** Longest wait for an answer; the server itself holds the first playlist of a starting stream for some seconds. */
const TIMEOUT_MS = 12_000;

export async function probe(playlist: string, fetcher: Fetch = (url, init) => fetch(url, init)): Promise<Answer> {
  try {
    const first = await ask(playlist, fetcher);
    if (typeof first !== 'string') return first;
    const media = firstVariant(first);
    if (media === null) return isOver(first) ? { kind: 'over' } : { kind: 'live' };
    const second = await ask(new URL(unnamed(media), new URL(playlist, location.href)).href, fetcher);
    if (typeof second !== 'string') return second;
    return isOver(second) ? { kind: 'over' } : { kind: 'live' };
  } catch {
    return { kind: 'unreachable' };
  }
}

async function ask(url: string, fetcher: Fetch): Promise<string | Answer> {
  const response = await fetcher(url, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.ok) return response.text();
  if (response.status === 404 || response.status === 410) return { kind: 'off' };
  if (REFUSALS.has(response.status)) return { kind: 'refused', reason: (await response.text()).trim() };
  if (response.status === 503) return { kind: 'soon', retryAfter: retryAfter(response.headers.get('retry-after')) };
  return { kind: 'unreachable' };
}

/** The address of the first variant of a multivariant playlist; null if the text is a media playlist. */
export function firstVariant(text: string): string | null {
  return variantsOf(text)[0]?.uri ?? null;
}

export function isOver(text: string): boolean {
  return /^#EXT-X-ENDLIST\s*$/m.test(text);
}

function retryAfter(value: string | null): number | null {
  const seconds = Number(value ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}

/** Which start of the stream a media URL belongs to (`/live/NAME/EPOCH/...`); null where the URL does not say. */
export function epochOf(url: string): string | null {
  return /\/live\/[^/]+\/(\d+)\//.exec(url)?.[1] ?? null;
}
