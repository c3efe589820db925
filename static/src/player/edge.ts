// Where the live edge is now. A playlist tells it once per part and arrives with the network's jitter; between two playlists
// it goes on at the speed of time. Pure: times come in as arguments (seconds).

/** How far back arrivals are compared. Long enough to see through jitter, short enough to follow a drifting encoder clock. */
const WINDOW = 5;

interface Arrival {
  at: number;
  /** Arrival time minus media time: the smallest of late is the arrival that was delayed least. */
  offset: number;
}

export class EdgeClock {
  private arrivals: Arrival[] = [];
  private edge = Number.NEGATIVE_INFINITY;
  private seen = Number.NEGATIVE_INFINITY;

  /** A playlist arrived at `now` whose last part ends at media time `edge`. Returns true if the edge moved. */
  observe(now: number, edge: number): boolean {
    if (edge <= this.edge + 1e-3) return false;
    this.edge = edge;
    this.seen = now;
    this.arrivals = this.arrivals.filter((a) => now - a.at < WINDOW);
    this.arrivals.push({ at: now, offset: now - edge });
    return true;
  }

  /**
   * The edge's media time at `now`. It never runs further ahead of the last known part than `slack` seconds: when the
   * broadcaster is silent, nothing is there to be behind of.
   */
  at(now: number, slack: number): number | null {
    if (this.arrivals.length === 0) return null;
    const offset = Math.min(...this.arrivals.map((a) => a.offset));
    return Math.min(now - offset, this.edge + slack);
  }

  /** Seconds since the edge last moved; 0 before the first playlist. */
  age(now: number): number {
    return this.arrivals.length === 0 ? 0 : now - this.seen;
  }

  /** A new stream: forget everything. */
  reset(): void {
    this.arrivals = [];
    this.edge = Number.NEGATIVE_INFINITY;
    this.seen = Number.NEGATIVE_INFINITY;
  }
}
