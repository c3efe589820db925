// What the player reads in the multivariant playlist by itself: its variants, their names, and the one without pictures,
// which hls.js leaves out where there are pictures. Pure.

import type { Rung } from './engine';

/** The name of a media playlist's file without extension; a query belongs to it, who asks does not. */
export function keyOf(uri: string): string {
  const [path = '', query = ''] = (uri.split('#')[0] ?? '').split('?');
  const kept = query.split('&').filter((pair) => pair !== '' && !/^(_HLS_|viewer=)/.test(pair));
  const name = path.replace(/^.*\//, '').replace(/\.m3u8$/, '');
  return kept.length > 0 ? `${name}?${kept.join('&')}` : name;
}

/** The address of a playlist without the viewer's id: who only looks whether there is something is no viewer. */
export function unnamed(uri: string): string {
  return uri.replace(/([?&])viewer=[^&#]*&?/, '$1').replace(/[?&]$/, '');
}

/** The id that the addresses of a multivariant playlist carry, as a query; empty if there is none. */
export function viewerOf(uri: string): string {
  const id = /[?&](viewer=[^&#]*)/.exec(uri)?.[1];
  return id === undefined ? '' : `?${id}`;
}

/** The variants of a multivariant playlist, in its order; none in a media playlist. */
export function variantsOf(text: string): { tag: string; uri: string }[] {
  const lines = text.split(/\r?\n/);
  return lines.flatMap((tag, at) => {
    if (!tag.startsWith('#EXT-X-STREAM-INF:')) return [];
    const uri = lines.slice(at + 1).find((line) => line !== '' && !line.startsWith('#'));
    return uri === undefined ? [] : [{ tag, uri }];
  });
}

/** All variants as rungs, in the order of the playlist; the best of those without pictures alone. */
export function rungsOf(text: string): Rung[] {
  const number = (tag: string, pattern: RegExp) => Number(pattern.exec(tag)?.[1] ?? 0);
  const pictures = variantsOf(text).filter(({ tag }) => /[:,]RESOLUTION=/.test(tag));
  const rungs = pictures.map(({ tag, uri }) => ({
    key: keyOf(uri),
    height: number(tag, /[:,]RESOLUTION=\d+x(\d+)/),
    bitrate: number(tag, /[:,](?:AVERAGE-)?BANDWIDTH=(\d+)/),
    sound: false,
    viewer: viewerOf(uri),
  }));
  const sound = soundOf(text);
  return sound ? [...rungs, sound] : rungs;
}

/** The first variant without pictures; null if there is none. */
export function soundOf(text: string): Rung | null {
  const found = variantsOf(text).find(({ tag }) => !/[:,]RESOLUTION=/.test(tag));
  if (!found) return null;
  const bitrate = Number(/[:,]BANDWIDTH=(\d+)/.exec(found.tag)?.[1] ?? 0);
  return { key: keyOf(found.uri), height: 0, bitrate, sound: true, viewer: viewerOf(found.uri) };
}
