// From the list of frames to the numbers that are reported. Pure.

/** The value below which the share `p` of a sorted list lies. */
export function percentile(sorted, p) {
  if (sorted.length === 0) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? sorted[0];
}

/** `frames`: `[shown at, age, presented]` in ms. A freeze is a gap of more than three frames and 150 ms over one. */
export function sums(frames, rate) {
  const ages = frames.map(([, age]) => age).filter((age) => age >= 0).sort((a, b) => a - b);
  const usual = 1000 / rate;
  const limit = Math.max(3 * usual, usual + 150);
  const gaps = frames.slice(1).map(([at], i) => at - frames[i][0]).filter((gap) => gap > limit);
  const span = frames.length > 1 ? frames.at(-1)[0] - frames[0][0] : 0;
  const presented = frames.length > 1 ? frames.at(-1)[2] - frames[0][2] : 0;
  return {
    frames: frames.length,
    unreadable: frames.length - ages.length,
    p50: percentile(ages, 0.5),
    p95: percentile(ages, 0.95),
    p99: percentile(ages, 0.99),
    max: ages.at(-1) ?? null,
    fps: span > 0 ? (presented * 1000) / span : 0,
    longest: Math.max(0, ...gaps),
    freezes: gaps.length,
    freezeSeconds: gaps.reduce((sum, gap) => sum + gap, 0) / 1000,
  };
}

/**
 * Seconds from `since` until the picture is back within `limit` ms of age and stays there for two seconds; null if never.
 */
export function backWithin(frames, since, limit) {
  let from = null;
  for (const [at, age] of frames) {
    if (at < since || age < 0) continue;
    if (age > limit) from = null;
    else from ??= at;
    if (from !== null && at - from >= 2000) return (from - since) / 1000;
  }
  return null;
}
