// Numbers and times as people read them.

export function bits(rate: number): string {
  if (rate >= 1e9) return `${(rate / 1e9).toFixed(2)} Gbit/s`;
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(rate / 1e3)} kbit/s`;
}

export function bytes(count: number): string {
  if (count >= 1 << 30) return `${(count / (1 << 30)).toFixed(1)} GiB`;
  if (count >= 1 << 20) return `${Math.round(count / (1 << 20))} MiB`;
  return `${Math.round(count / 1024)} KiB`;
}

/** `2 d 3 h`, `1 h 04 min`, `3 min 20 s`. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s >= 86_400) return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
  if (s >= 60) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  return `${s} s`;
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString(undefined, { hour12: false });
}

export function date(ms: number | null): string {
  return ms === null ? 'never' : new Date(ms).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

/** `1 frame`, `2 frames`. */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
