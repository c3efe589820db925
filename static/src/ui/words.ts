// Every sentence that a viewer reads about the state of the show. Pure.

import type { Snapshot } from '../player/session';
import type { Pictures, Rung } from '../player/engine';
import type { State } from '../player/state';

export interface Words {
  title: string;
  detail: string;
}

/** What stands on the poster, or in the soft note over a standing picture. */
export function words(snapshot: Snapshot): Words {
  switch (snapshot.state) {
    case 'waiting':
      return { title: 'Off air', detail: 'Stay here: the picture starts by itself when the show begins.' };
    case 'starting':
      return { title: 'Tuning in', detail: '' };
    case 'ended':
      return { title: 'The show has ended', detail: 'When the next one begins, it starts here by itself.' };
    case 'offline':
      return { title: 'No connection', detail: `The server does not answer. ${again(snapshot.retryIn)}` };
    case 'unplayable':
      return { title: 'This browser cannot play the stream', detail: snapshot.reason };
    case 'refused':
      return { title: 'You cannot watch this here', detail: sentence(snapshot.reason) };
    case 'reconnecting':
      return snapshot.reachable
        ? { title: 'Reconnecting', detail: 'The broadcast was interrupted. It goes on by itself.' }
        : { title: 'Reconnecting', detail: 'Your connection to the server was lost. Trying again.' };
    case 'buffering':
    case 'playing':
    case 'paused':
      return SIGHT[snapshot.pictures];
  }
}

const SIGHT: Record<Pictures, Words> = {
  shown: { title: '', detail: '' },
  none: { title: 'Sound only', detail: '' },
  undecodable: { title: 'Sound only', detail: 'This browser cannot decode the pictures of the stream.' },
};

/** For the badge and for screen readers. */
export const SPOKEN: Record<State, string> = {
  waiting: 'Off air. Playback starts by itself when the show begins.',
  starting: 'Tuning in.',
  playing: 'Playing.',
  paused: 'Paused.',
  buffering: 'Buffering.',
  reconnecting: 'Connection interrupted. Reconnecting.',
  offline: 'The server does not answer. Trying again.',
  ended: 'The show has ended.',
  unplayable: 'This browser cannot play the stream.',
  refused: 'The server does not let you watch this.',
};

/** The server's words as a sentence of the page. */
function sentence(text: string): string {
  const line = text.split('\n')[0] ?? '';
  return line === '' ? '' : `${line.charAt(0).toUpperCase()}${line.slice(1).replace(/\.$/, '')}.`;
}

function again(seconds: number | null): string {
  if (seconds === null || seconds < 0.5) return 'Asking again now.';
  return `Asking again in ${Math.round(seconds)} s.`;
}

/** `1:02:03` or `2:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(s).padStart(2, '0');
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${tail}` : `${m}:${tail}`;
}

/** `720p`, or `720p30` where two rungs have that height. */
export function rungTitle(rung: Rung): string {
  if (rung.sound) return 'Sound only';
  if (/^\d+p\d*$/.test(rung.key)) return rung.key;
  return rung.height > 0 ? `${rung.height}p` : bits(rung.bitrate);
}

export function bits(perSecond: number): string {
  if (perSecond <= 0) return 'unknown';
  return perSecond >= 1e6 ? `${(perSecond / 1e6).toFixed(1)} Mbit/s` : `${Math.round(perSecond / 1e3)} kbit/s`;
}
