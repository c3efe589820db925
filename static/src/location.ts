// What the address says: the stream's name, and an embed's wishes. Pure.

/** The last part of `/watch/NAME`, `/embed/NAME` and `/publish/NAME`; empty if there is none. */
export function nameOf(pathname: string): string {
  const last = /^\/(?:watch|embed|publish)\/([^/]+)\/?$/.exec(pathname)?.[1] ?? '';
  try {
    return decodeURIComponent(last);
  } catch {
    return '';
  }
}

/** `?muted=0`: a switch that is on unless the address turns it off. */
export function flag(search: string, name: string, otherwise = true): boolean {
  const value = new URLSearchParams(search).get(name);
  if (value === null) return otherwise;
  return !['0', 'false', 'no', 'off'].includes(value.toLowerCase());
}
