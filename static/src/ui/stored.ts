// What a viewer has set, kept between visits where the browser lets us: volume and quality.

import { AIMS } from './delay';
import type { Aim } from '../player/session';

const VOLUME = 'headwater.volume';
const QUALITY = 'headwater.quality';

export function storedVolume(): number {
  const volume = Number(read(VOLUME) ?? 1);
  return Number.isFinite(volume) && volume > 0 && volume <= 1 ? volume : 1;
}

export function storeVolume(volume: number): void {
  write(VOLUME, String(volume));
}

/** Key of the rung that was chosen by hand; empty for automatic. */
export function storedQuality(): string {
  return read(QUALITY) ?? '';
}

export function storeQuality(key: string): void {
  write(QUALITY, key);
}

const AIM = 'headwater.delay';

/** How close to the moment a viewer wants to be: what the address says, else what was chosen last. */
export function storedAim(search: string): Aim {
  const said = new URLSearchParams(search).get('delay') ?? read(AIM);
  return AIMS.find((aim) => aim === said) ?? 'realtime';
}

export function storeAim(aim: Aim): void {
  write(AIM, aim);
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Private windows and foreign frames may refuse: then it is not kept.
  }
}
