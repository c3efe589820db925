// Which key does what, and the list that a question mark shows.

import { el, toggle } from './dom';

export type Verb = 'toggle' | 'mute' | 'fullscreen' | 'live' | 'stats' | 'pip' | 'help' | 'back' | 'on' | 'louder' | 'softer' | 'escape';

/** The verb of a key press; null leaves it to the page. */
export function verbOf(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey'>): Verb | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  return KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key] ?? null;
}

/** True where a key belongs to what has the focus: typing, and pressing a button by space or enter. */
export function isTaken(event: KeyboardEvent): boolean {
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement) return true;
  if (target instanceof HTMLInputElement) return target.type !== 'range';
  const pressable = target.closest('button, a, summary, [role="menu"]') !== null;
  return pressable && (event.key === ' ' || event.key === 'Enter');
}

export class KeyList {
  readonly element: HTMLElement;

  constructor(close: HTMLElement) {
    const rows = LIST.map(([keys, what]) =>
      el('div', {}, el('dt', {}, ...keys.split(' ').map((key) => el('kbd', {}, key))), el('dd', {}, what)),
    );
    this.element = el(
      'section',
      { class: 'keys', role: 'dialog', 'aria-label': 'Keyboard shortcuts', hidden: true },
      el('header', {}, el('h2', {}, 'Keyboard'), close),
      el('dl', {}, ...rows),
    );
  }

  get shown(): boolean {
    return !this.element.hidden;
  }

  show(shown: boolean): void {
    toggle(this.element, !shown);
    if (shown) this.element.querySelector('button')?.focus();
  }
}

const KEYS: Record<string, Verb> = {
  ' ': 'toggle',
  k: 'toggle',
  m: 'mute',
  f: 'fullscreen',
  l: 'live',
  i: 'stats',
  p: 'pip',
  '?': 'help',
  ArrowLeft: 'back',
  ArrowRight: 'on',
  ArrowUp: 'louder',
  ArrowDown: 'softer',
  Escape: 'escape',
};

const LIST: [string, string][] = [
  ['Space k', 'Play or pause'],
  ['m', 'Sound on or off'],
  ['↑ ↓', 'Louder, softer'],
  ['← →', 'Five seconds back, on'],
  ['l', 'Go live'],
  ['f', 'Full screen'],
  ['p', 'Picture in picture'],
  ['i', 'Statistics'],
  ['?', 'This list'],
];
