// Which rung the link carries, judged by how long parts take to arrive. Pure. A part is sent as soon as it exists, so the
// time from its first byte to its last is the link's; the engine's own estimate counts the waiting for the encoder too.

export class Load {
  private busy = 0;
  private heavy = 0;
  private level = -1;
  private since = Number.NEGATIVE_INFINITY;
  private roseAt = Number.NEGATIVE_INFINITY;
  private patience = PATIENCE;

  /**
   * A part of `level` took so many seconds to arrive, and plays so many. Gives the heaviest level that may be taken from
   * now on, or null if nothing changes. Pictures grow with the level, and bit rates as a rule.
   */
  part(now: number, seconds: number, plays: number, level: number, rates: readonly number[]): number | null {
    const busy = plays > 0 ? seconds / plays : 0;
    if (level !== this.level) {
      this.level = level;
      this.since = now;
      this.busy = busy;
      this.heavy = 0;
    }
    this.busy += (busy - this.busy) * 0.2;
    this.heavy = busy > BLOCKED ? ENOUGH : busy > HEAVY ? this.heavy + 1 : 0;
    const rate = rates[level] ?? 0;
    const of = (other: number, load: number) => (rate > 0 ? (load * (rates[other] ?? rate)) / rate : load);
    if (this.heavy >= ENOUGH) {
      const lighter = below(level, rates);
      const to = lighter.find((other) => of(other, busy) <= FITS) ?? lighter.at(-1);
      if (to !== undefined) return this.fall(now, to);
    }
    const rested = now - this.since > this.patience;
    if (rested && level + 1 < rates.length && of(level + 1, this.busy) < EASY) {
      this.roseAt = now;
      this.since = now;
      return level + 1;
    }
    return null;
  }

  /** The picture stood still for want of data. */
  starved(now: number, level: number, rates: readonly number[]): number | null {
    const to = below(level, rates)[0];
    return to === undefined ? null : this.fall(now, to);
  }

  private fall(now: number, to: number): number {
    // What was tried too early is not tried again so soon.
    const early = now - this.roseAt < PATIENCE;
    if (early) this.patience = Math.min(this.patience * 2, MOST_PATIENCE);
    else if (now - this.roseAt > MOST_PATIENCE) this.patience = PATIENCE;
    // Of one attempt that failed, once.
    this.roseAt = early ? now - PATIENCE : this.roseAt;
    this.heavy = 0;
    this.since = now;
    return to;
  }
}

/** Levels of smaller pictures that need less of the link, the best first. */
function below(level: number, rates: readonly number[]): number[] {
  const all = [...rates.keys()].filter((other) => other < level && (rates[other] ?? 0) < (rates[level] ?? 0));
  return all.reverse();
}

/** A part that takes this much of its own duration leaves no time for the next. */
const HEAVY = 0.85;
/** So many of them are no chance. */
const ENOUGH = 2;
/** One that takes so much of it has eaten half of what a viewer at the live edge has: there is no waiting for a second. */
const BLOCKED = 1.5;
/** What a rung may take of the link to go down to it, and to go up to it. */
const FITS = 0.6;
const EASY = 0.5;
/** Seconds without trouble before a heavier rung is tried. */
const PATIENCE = 10;
const MOST_PATIENCE = 120;
