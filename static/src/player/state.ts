// What the viewer is told, derived from facts in one place. Pure.

export type State =
  /** Off the air. */
  | 'waiting'
  /** On the air or about to be; no picture yet. */
  | 'starting'
  | 'playing'
  | 'paused'
  /** The picture stands because this viewer's data is late. */
  | 'buffering'
  /** The picture stands because the broadcaster, or the way to the server, is gone for the moment. */
  | 'reconnecting'
  /** Nothing to play and the server does not answer. */
  | 'offline'
  | 'ended'
  /** This browser has no decoder for what is sent. */
  | 'unplayable'
  /** The server does not let this viewer in. */
  | 'refused';

export interface Facts {
  phase: 'waiting' | 'engaged' | 'ended' | 'unplayable' | 'refused';
  /** The server answered the last question. */
  reachable: boolean;
  /** The server said that the stream is about to start. */
  soon: boolean;
  /** An engine failed, and why is not known yet. */
  lost: boolean;
  /** A picture (or sound) has played since the engine was started. */
  begun: boolean;
  /** The viewer's wish, or the browser's who did not let the page start by itself. */
  paused: boolean;
  stalled: boolean;
  /** Seconds of media ahead. */
  forward: number;
  /** Seconds since the playlist last grew; 0 if it is not live. */
  silence: number;
}

/** Playlists grow every part. Three seconds of silence is no jitter any more. */
export const SILENCE = 3;

export function judge(facts: Facts): State {
  switch (facts.phase) {
    case 'ended':
      return 'ended';
    case 'unplayable':
      return 'unplayable';
    case 'refused':
      return 'refused';
    case 'waiting':
      if (facts.lost) return 'reconnecting';
      if (!facts.reachable) return 'offline';
      return facts.soon ? 'starting' : 'waiting';
    case 'engaged':
      return engaged(facts);
  }
}

function engaged(facts: Facts): State {
  if (facts.paused) return 'paused';
  const dry = facts.stalled || facts.forward < 0.1;
  if (dry && facts.begun && (facts.silence > SILENCE || !facts.reachable)) return 'reconnecting';
  if (!facts.begun) return 'starting';
  return facts.stalled ? 'buffering' : 'playing';
}
