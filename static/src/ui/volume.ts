// The viewer's volume, kept between visits where the browser lets us.

const KEY = 'headwater.volume';

export function storedVolume(): number {
  try {
    const volume = Number(localStorage.getItem(KEY) ?? 1);
    return Number.isFinite(volume) && volume > 0 && volume <= 1 ? volume : 1;
  } catch {
    return 1;
  }
}

export function storeVolume(volume: number): void {
  try {
    localStorage.setItem(KEY, String(volume));
  } catch {
    // Private windows and foreign frames may refuse: then it is not kept.
  }
}
