// What the session asks of whatever plays the stream: hls.js over Media Source Extensions, or the browser's own HLS.

export interface Rung {
  /** Its file's name without extension, such as `source` or `720p`: the same in every start of the stream. */
  key: string;
  /** 0 without pictures. */
  height: number;
  /** Bit/s as the playlist declares it; 0 if it does not. */
  bitrate: number;
  /** For those who only listen. An engine that plays pictures lists it, but cannot choose it. */
  sound: boolean;
  /** What its address carries to tell this viewer from others, `?viewer=ID`; empty if nothing. */
  viewer: string;
}

/** No rung is chosen by hand. */
export const AUTO = '';

/** The live window. Media times in seconds. */
export interface Window {
  start: number;
  edge: number;
  holdBack: number;
  /** Part duration; of an ordinary live playlist the segment's. */
  part: number;
  live: boolean;
}

/** What there is to see: none where the show is sound alone, or where this browser can decode nothing but its sound. */
export type Pictures = 'shown' | 'none' | 'undecodable';

export type EngineEvent =
  /** The playlist was read again. */
  | { kind: 'window'; window: Window; epoch: string | null }
  /** The rungs are known or another one plays. */
  | { kind: 'rungs' }
  /** A request failed and is tried again by the engine itself; `answered`: the server did answer, if only to refuse. */
  | { kind: 'trouble'; answered: boolean }
  /** The server has the stream no more. */
  | { kind: 'gone' }
  /** Cannot go on; a new engine may. */
  | { kind: 'failed'; reason: string }
  /** The server does not let this viewer in, or no more, and says why. */
  | { kind: 'refused'; reason: string }
  /** No decoder for this stream in this browser. */
  | { kind: 'unplayable'; reason: string };

export interface Engine {
  readonly protocol: string;
  /** In the order of the playlist. */
  readonly rungs: Rung[];
  /** Place of the rung that plays, -1 if unknown. */
  readonly playing: number;
  /** Key of the rung that was chosen by hand, or AUTO. */
  readonly chosen: string;
  /** Codecs of what plays, as the playlist has them. */
  readonly codecs: string;
  readonly pictures: Pictures;
  /** Estimated bandwidth in bit/s; 0 if unknown. */
  readonly bandwidth: number;
  /** A rung of pictures by its key; a key that is not known means AUTO. */
  choose(key: string): void;
  /** The picture stands still for want of data. */
  starved(): void;
  destroy(): void;
}
