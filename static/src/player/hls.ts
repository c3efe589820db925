// The engine on hls.js: its configuration, and the translation of its events into the session's. Knows nothing of states.

import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type HlsConfig, type LevelDetails } from 'hls.js';
import { AUTO, type Engine, type EngineEvent, type Pictures, type Rung, type Window } from './engine';
import { Load } from './load';
import { epochOf } from './probe';
import { keyOf, soundOf, viewerOf } from './variants';

export class HlsEngine implements Engine {
  readonly protocol = `LL-HLS, hls.js ${Hls.version}`;
  private readonly hls: Hls;
  /** The playlist lists pictures, whether they can be decoded here or not. */
  private offered = false;
  private sound: Rung | null = null;
  private mediaErrorAt = Number.NEGATIVE_INFINITY;
  private readonly load = new Load();

  static supported(): boolean {
    return Hls.isSupported();
  }

  constructor(
    video: HTMLVideoElement,
    url: string,
    private readonly tell: (event: EngineEvent) => void,
    want: string,
  ) {
    this.hls = new Hls(CONFIG);
    this.hls.on(Events.MANIFEST_LOADED, (_, data) => {
      // hls.js drops what it cannot play before it tells of any; the text still says it.
      const answer: unknown = data.networkDetails;
      const text = answer instanceof XMLHttpRequest ? answer.responseText : '';
      this.offered = data.levels.some(depicts) || /RESOLUTION=\d/.test(text);
      this.sound = this.offered ? soundOf(text) : null;
      // hls.js itself heard this first, and has told of what it parsed already.
      tell({ kind: 'rungs' });
    });
    this.hls.on(Events.MANIFEST_PARSED, () => {
      // Before anything is loaded: the first picture is of the chosen rung already.
      const index = this.indexOf(want);
      if (index >= 0) this.hls.loadLevel = index;
      tell({ kind: 'rungs' });
    });
    this.hls.on(Events.LEVEL_SWITCHED, () => tell({ kind: 'rungs' }));
    this.hls.on(Events.FRAG_LOADED, (_, data) => {
      const { part, frag } = data;
      const { first, end } = (part ?? frag).stats.loading;
      this.judge((end - first) / 1000, (part ?? frag).duration, frag.level);
    });
    this.hls.on(Events.LEVEL_UPDATED, (_, data) => this.updated(data.details));
    this.hls.on(Events.ERROR, (_, data) => this.failed(data));
    this.hls.attachMedia(video);
    this.hls.loadSource(url);
  }

  get rungs(): Rung[] {
    const pictures = this.hls.levels.map((level) => ({
      key: keyOf(level.uri),
      height: level.height,
      bitrate: level.bitrate,
      sound: false,
      viewer: viewerOf(level.uri),
    }));
    return this.sound ? [...pictures, this.sound] : pictures;
  }

  get playing(): number {
    return this.hls.currentLevel;
  }

  get chosen(): string {
    const level = this.hls.levels[this.hls.loadLevel];
    return this.hls.autoLevelEnabled || !level ? AUTO : keyOf(level.uri);
  }

  get codecs(): string {
    const level = this.hls.levels[Math.max(0, this.hls.currentLevel)];
    return level?.attrs.CODECS ?? level?.codecSet ?? '';
  }

  get pictures(): Pictures {
    const levels = this.hls.levels;
    if (levels.length === 0 || levels.some(depicts)) return 'shown';
    return this.offered ? 'undecodable' : 'none';
  }

  get bandwidth(): number {
    const estimate = this.hls.bandwidthEstimate;
    return Number.isFinite(estimate) ? estimate : 0;
  }

  choose(key: string): void {
    this.hls.nextLevel = this.indexOf(key);
  }

  starved(): void {
    this.cap(this.load.starved(performance.now() / 1000, this.hls.loadLevel, this.rates()));
  }

  /** -1, which to hls.js is automatic, if there is none. */
  private indexOf(key: string): number {
    return this.hls.levels.findIndex((level) => keyOf(level.uri) === key);
  }

  private judge(seconds: number, plays: number, level: number): void {
    this.cap(this.load.part(performance.now() / 1000, seconds, plays, level, this.rates()));
  }

  private rates(): number[] {
    return this.hls.levels.map((each) => each.averageBitrate || each.bitrate);
  }

  /** The engine estimates a link as wider than it is, so what it may take at most is what it takes. */
  private cap(level: number | null): void {
    if (level !== null && this.hls.autoLevelEnabled) this.hls.autoLevelCapping = level;
  }

  destroy(): void {
    this.hls.destroy();
  }

  private updated(details: LevelDetails): void {
    const url = details.partList?.at(-1)?.url ?? details.fragments.at(-1)?.url ?? '';
    this.tell({ kind: 'window', window: windowOf(details), epoch: epochOf(url) });
  }

  private failed(data: ErrorData): void {
    const status = data.response?.code;
    // Final, whatever hls.js makes of it: it would ask again and again.
    if (data.type === ErrorTypes.NETWORK_ERROR && REFUSALS.has(status ?? 0)) {
      const answer: unknown = data.networkDetails;
      this.tell({ kind: 'refused', reason: answer instanceof XMLHttpRequest ? reasonOf(answer) : '' });
      return;
    }
    if (!data.fatal) {
      if (data.type === ErrorTypes.NETWORK_ERROR) this.tell({ kind: 'trouble', answered: (status ?? 0) > 0 });
      return;
    }
    if (UNDECODABLE.has(data.details)) {
      this.tell({ kind: 'unplayable', reason: data.reason ?? data.error.message });
    } else if (data.type === ErrorTypes.NETWORK_ERROR && (status === 404 || status === 410)) {
      this.tell({ kind: 'gone' });
    } else if (data.type === ErrorTypes.MEDIA_ERROR && this.mayRecover()) {
      this.hls.recoverMediaError();
    } else {
      this.tell({ kind: 'failed', reason: data.details });
    }
  }

  /** The decoder is set up anew once in ten seconds; a second failure within them needs a new engine. */
  private mayRecover(): boolean {
    const now = performance.now();
    const may = now - this.mediaErrorAt > 10_000;
    this.mediaErrorAt = now;
    return may;
  }
}

function depicts(level: { width?: number; videoCodec?: string | undefined }): boolean {
  return (level.width ?? 0) > 0 || (level.videoCodec ?? '') !== '';
}

function windowOf(details: LevelDetails): Window {
  const holdBack = details.partHoldBack || details.holdBack || details.targetduration * 3;
  return {
    start: details.fragmentStart,
    edge: details.edge,
    holdBack,
    part: details.partTarget || details.targetduration,
    live: details.live,
  };
}

/** The server's own words; nothing where they cannot be had. */
function reasonOf(answer: XMLHttpRequest): string {
  return answer.responseType === '' || answer.responseType === 'text' ? answer.responseText.trim() : '';
}

/** Not let in, or no more. */
const REFUSALS = new Set([401, 403, 429]);

const UNDECODABLE = new Set<string>([
  ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR,
  ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR,
  ErrorDetails.BUFFER_ADD_CODEC_ERROR,
]);

const CONFIG: Partial<HlsConfig> = {
  // `?debug` in the address: hls.js tells the console everything.
  debug: typeof location !== 'undefined' && new URLSearchParams(location.search).has('debug'),
  lowLatencyMode: true,
  // The session steers latency itself (latency.ts).
  maxLiveSyncPlaybackRate: 1,
  liveSyncOnStallIncrease: 0,
  liveDurationInfinity: true,
  // fMP4 needs next to no work before it is appended: a worker would add a hop to every part, and a blob: script to the page.
  enableWorker: false,
  // One-second jumps back stay instant; the rest of the window is on the server.
  backBufferLength: 30,
  maxBufferLength: 20,
  maxMaxBufferLength: 40,
  // Steered by what the link carries (load.ts), which uses the same cap.
  capLevelToPlayerSize: false,
  testBandwidth: false,
  // Begin with a picture worth looking at; the first parts correct the estimate.
  abrEwmaDefaultEstimate: 4_000_000,
  enableInterstitialPlayback: false,
  enableWebVTT: false,
  enableIMSC1: false,
  enableCEA708Captions: false,
  // Whether there is a stream at all is asked by the session, with a back-off of its own.
  manifestLoadPolicy: {
    default: { maxTimeToFirstByteMs: 15_000, maxLoadTimeMs: 20_000, timeoutRetry: null, errorRetry: null },
  },
  // While a broadcaster is away the server holds reloads and answers 503 at the latest: never give up on them.
  playlistLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 12_000,
      maxLoadTimeMs: 20_000,
      timeoutRetry: { maxNumRetry: 1_000_000, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 1_000_000, retryDelayMs: 500, maxRetryDelayMs: 4_000, backoff: 'exponential' },
    },
  },
  fragLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 8_000,
      maxLoadTimeMs: 30_000,
      timeoutRetry: { maxNumRetry: 4, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 8, retryDelayMs: 250, maxRetryDelayMs: 2_000, backoff: 'exponential' },
    },
  },
};
