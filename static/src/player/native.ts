// The engine where Media Source Extensions are missing: the browser's own HLS. It steers its latency itself and tells little.

import { AUTO, type Engine, type EngineEvent, type Pictures, type Rung } from './engine';

export class NativeEngine implements Engine {
  readonly protocol = 'HLS, built into the browser';
  readonly rungs: Rung[] = [];
  readonly playing = -1;
  readonly chosen = AUTO;
  readonly codecs = '';
  readonly bandwidth = 0;
  private readonly stop = new AbortController();

  static supported(video: HTMLVideoElement): boolean {
    return video.canPlayType('application/vnd.apple.mpegurl') !== '';
  }

  constructor(
    private readonly video: HTMLVideoElement,
    url: string,
    tell: (event: EngineEvent) => void,
  ) {
    const options = { signal: this.stop.signal };
    const window = () => {
      const ranges = video.seekable;
      if (ranges.length === 0) return;
      const live = !Number.isFinite(video.duration);
      const span = { start: ranges.start(0), edge: ranges.end(ranges.length - 1) };
      tell({ kind: 'window', window: { ...span, holdBack: HOLD_BACK, part: 1, live }, epoch: null });
    };
    video.addEventListener('timeupdate', window, options);
    video.addEventListener('progress', window, options);
    video.addEventListener('error', () => this.broken(tell), options);
    video.src = url;
  }

  choose(): void {
    // The browser chooses.
  }

  starved(): void {
    // The browser knows.
  }

  get pictures(): Pictures {
    return this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || this.video.videoWidth > 0 ? 'shown' : 'none';
  }

  destroy(): void {
    this.stop.abort();
    this.video.removeAttribute('src');
    this.video.load();
  }

  private broken(tell: (event: EngineEvent) => void): void {
    const error = this.video.error;
    if (error?.code === MediaError.MEDIA_ERR_DECODE) tell({ kind: 'unplayable', reason: error.message });
    else tell({ kind: 'failed', reason: error?.message ?? 'the browser gave no reason' });
  }
}

/** Where the browser does not say what it aims at: what Safari keeps of an ordinary live playlist, in seconds. */
const HOLD_BACK = 6;
