// Counts how often and how long the picture stood still for want of data. Pure: the session tells it what the video element
// said and when (seconds).

export class Stalls {
  count = 0;
  private finished = 0;
  private since: number | null = null;

  /** The picture stopped. Returns false if it already stood. */
  begin(now: number): boolean {
    if (this.since !== null) return false;
    this.since = now;
    this.count += 1;
    return true;
  }

  /** The picture moves again, or there is no picture any more. */
  end(now: number): void {
    if (this.since === null) return;
    this.finished += now - this.since;
    this.since = null;
  }

  get active(): boolean {
    return this.since !== null;
  }

  /** Seconds stood still, the present stall included. */
  seconds(now: number): number {
    return this.finished + (this.since === null ? 0 : now - this.since);
  }
}
