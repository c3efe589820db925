// How long to wait before the next try: doubles from a floor to a ceiling, with jitter, so that a thousand viewers who lost
// the same server do not come back in the same instant. Pure: the caller owns the timer and brings the dice.

export class Backoff {
  private tries = 0;

  /** `floor` and `ceiling` in milliseconds. */
  constructor(
    private readonly floor: number,
    private readonly ceiling: number,
    private readonly dice: () => number = Math.random,
  ) {}

  /** Milliseconds until the next try: within 75 % to 125 % of the doubled floor, never above the ceiling. */
  next(): number {
    const plain = Math.min(this.ceiling, this.floor * 2 ** Math.min(this.tries, 16));
    this.tries += 1;
    return Math.min(this.ceiling, plain * (0.75 + this.dice() / 2));
  }

  /** After a success: start from the floor again. */
  reset(): void {
    this.tries = 0;
  }
}
