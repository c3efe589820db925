// What the address says: the stream's name, and an embed's wishes. Pure.

/** What stands before the address of a page whose link is signed, `/s/TOKEN`: all it asks for stands behind it too. Empty mostly. */
export function prefixOf(pathname: string): string {
  return /^\/s\/[A-Za-z0-9._-]+(?=\/)/.exec(pathname)?.[0] ?? '';
}

/** The last part of `/watch/NAME`, `/embed/NAME` and `/publish/NAME`, behind a signed prefix or not; empty if there is none. */
export function nameOf(pathname: string): string {
  const path = pathname.slice(prefixOf(pathname).length);
  const last = /^\/(?:watch|embed|publish)\/([^/]+)\/?$/.exec(path)?.[1] ?? '';
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
