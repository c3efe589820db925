// Keeps the viewer at the live edge: small changes of the playback rate that nobody hears, and a jump when the way is too
// long. Pure: a sample in, advice out; the session reads the video element and carries the advice out.
//
// hls.js has a catch-up of its own. It is switched off: it wants more than one second of forward buffer before it speeds up,
// which a stream with 0.77 s of hold-back never has, and it adds a whole second to its target with every stall.

/** What is known at one instant. Times in seconds. */
export interface Sample {
  now: number;
  /** Live edge minus playhead. */
  latency: number;
  /** Playable media ahead of the playhead, sound and picture. */
  forward: number;
  /** What the playlist asks for: PART-HOLD-BACK, or HOLD-BACK of an ordinary live playlist. */
  holdBack: number;
  /** True while the picture stands still for want of data. */
  stalled: boolean;
  /** True if the position to jump to is in the buffer already. */
  targetBuffered: boolean;
}

export interface Advice {
  rate: number;
  /** Jump to the live position. */
  rejoin: boolean;
}

export class LatencyController {
  private extra = 0;
  private safety = 0;
  private calmSince = Number.NEGATIVE_INFINITY;
  private learntAt = Number.NEGATIVE_INFINITY;
  private correcting = false;
  private rejoinedAt = Number.NEGATIVE_INFINITY;
  private rejoinPause = REJOIN_PAUSE_MIN;

  /**
   * A picture that stands although this much is ahead should be started again by hand. Chromium doubles what it wants to have
   * decoded with every stall, up to three seconds, which a viewer at the live edge never has; a seek makes it forget.
   */
  enough(holdBack: number): number {
    return Math.max(RESUME_MIN, this.target(holdBack) - RESUME_BELOW);
  }

  /** The latency aimed at: what the playlist asks for, what stalls have taught, and what the viewer wants beyond. */
  target(holdBack: number): number {
    return holdBack + CUSHION + this.extra + this.safety;
  }

  /** Keeps so many seconds more. */
  keep(seconds: number): void {
    this.safety = seconds;
  }

  /**
   * The viewer's network was late and the picture stood; `behind` the target when it stopped. Aims a little further back,
   * if that would have helped: who is far behind and dry all the same lacks bandwidth, not distance.
   */
  stalled(now: number, behind: number): void {
    this.calmSince = now;
    if (behind > STARVED || now - this.learntAt < LESSON_PAUSE) return;
    this.learntAt = now;
    this.extra = Math.min(EXTRA_MAX, this.extra + EXTRA_STEP);
  }

  advise(sample: Sample): Advice {
    this.decay(sample.now);
    const behind = sample.latency - this.target(sample.holdBack);
    if (this.mustRejoin(sample, behind)) {
      this.correcting = false;
      return { rate: 1, rejoin: true };
    }
    return { rate: this.rate(sample, behind), rejoin: false };
  }

  /** A new stream: the lessons of the old one do not count. */
  reset(): void {
    this.extra = 0;
    this.correcting = false;
    this.calmSince = Number.NEGATIVE_INFINITY;
    this.learntAt = Number.NEGATIVE_INFINITY;
    this.rejoinedAt = Number.NEGATIVE_INFINITY;
    this.rejoinPause = REJOIN_PAUSE_MIN;
  }

  private decay(now: number): void {
    const calm = now - this.calmSince;
    if (this.extra === 0 || calm < CALM) return;
    this.extra = Math.max(0, this.extra - EXTRA_STEP);
    this.calmSince = now;
  }

  private mustRejoin(sample: Sample, behind: number): boolean {
    const since = sample.now - this.rejoinedAt;
    if (behind <= REJOIN_BEHIND) {
      if (since > REJOIN_PAUSE_MAX) this.rejoinPause = REJOIN_PAUSE_MIN;
      return false;
    }
    // Into the buffer a jump costs nothing. Out of it, it throws loaded media away, so only a starving viewer jumps,
    // and ever more seldom: a link below the bitrate must not be spent on jumps alone.
    const wait = sample.targetBuffered ? REJOIN_PAUSE_MIN : this.rejoinPause;
    const starving = sample.stalled || sample.forward < FORWARD_LOW;
    if (since < wait || !(sample.targetBuffered || starving)) return false;
    this.rejoinedAt = sample.now;
    if (!sample.targetBuffered) this.rejoinPause = Math.min(REJOIN_PAUSE_MAX, this.rejoinPause * 2);
    return true;
  }

  private rate(sample: Sample, behind: number): number {
    const fine = this.correcting
      ? Math.abs(behind) < DEAD_BAND_LEAVE
      : behind > -DEAD_BAND_NEAR && behind < DEAD_BAND_FAR;
    if (fine) {
      this.correcting = false;
      return Math.min(1, Math.round(allowed(sample.forward) * 100) / 100);
    }
    this.correcting = true;
    const wanted = 1 + Math.max(RATE_MIN - 1, Math.min(RATE_MAX - 1, behind * GAIN));
    return Math.round(Math.min(wanted, allowed(sample.forward)) * 100) / 100;
  }
}

/** Whoever speeds up with an empty buffer buys a stall; and a source that is a little slow is followed, not overtaken. */
function allowed(forward: number): number {
  const room = (forward - FORWARD_LOW) / FORWARD_EASE;
  if (room >= 0) return 1 + Math.min(1, room) * (RATE_MAX - 1);
  return 1 + Math.max(-1, (forward - FORWARD_LOW) / FORWARD_LOW) * (1 - RATE_MIN);
}

/** Audible below 0.95 and above 1.1. */
export const RATE_MIN = 0.95;
export const RATE_MAX = 1.1;
/** Rate change per second of distance: a third of a second behind still runs at 1.1, and three seconds later nearly there. */
const GAIN = 0.3;
/** What is kept above the playlist's minimum, for the time a part takes to be fetched and appended. */
export const CUSHION = 0.1;
/**
 * A correction begins 100 ms behind or 50 ms ahead of the target, and ends within 20 ms of it, so that the rate does not
 * flutter. Ahead it begins sooner: too far back costs a moment's latency, too close costs a stall.
 */
const DEAD_BAND_FAR = 0.1;
const DEAD_BAND_NEAR = 0.05;
const DEAD_BAND_LEAVE = 0.02;
/** With less than this ahead there is no speeding up; full speed needs FORWARD_EASE more. */
const FORWARD_LOW = 0.2;
const FORWARD_EASE = 0.3;
/** Data to resume with: parts come a quarter of a second apart, so the buffer is on average this much below the latency. */
const RESUME_BELOW = 0.35;
const RESUME_MIN = 0.5;
/** Each lesson moves the target by this much, up to EXTRA_MAX; each calm half minute takes one step back. */
const EXTRA_STEP = 0.25;
export const EXTRA_MAX = 1.5;
const CALM = 30;
/** Stalls come in bursts: one lesson from each. */
const LESSON_PAUSE = 15;
/** So far behind the target and dry means: the link is below the bitrate. */
const STARVED = 0.5;
/** Further behind than this the way is too long for the playback rate (40 s at 1.1). */
export const REJOIN_BEHIND = 4;
/** Shortest and longest time between two jumps. */
const REJOIN_PAUSE_MIN = 3;
const REJOIN_PAUSE_MAX = 24;
