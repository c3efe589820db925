// What the player reads in the multivariant playlist by itself: names of variants, and the one without pictures, which hls.js
// leaves out where there are pictures. Pure.

import type { Rung } from './engine';

/** The name of a media playlist's file without extension; a query belongs to it. */
export function keyOf(uri: string): string {
  const file = uri.split('#')[0]?.replace(/^[^?]*\//, '') ?? '';
  return file.replace(/\.m3u8(?=$|\?)/, '').replace(/[?&]_HLS_[^&]*/g, '');
}

/** The first variant without pictures; null if there is none. */
export function soundOf(text: string): Rung | null {
  const lines = text.split(/\r?\n/);
  for (const [at, line] of lines.entries()) {
    if (!line.startsWith('#EXT-X-STREAM-INF:') || /[:,]RESOLUTION=/.test(line)) continue;
    const uri = lines.slice(at + 1).find((each) => each !== '' && !each.startsWith('#'));
    const bitrate = Number(/[:,]BANDWIDTH=(\d+)/.exec(line)?.[1] ?? 0);
    if (uri !== undefined) return { key: keyOf(uri), height: 0, bitrate, sound: true };
  }
  return null;
}
