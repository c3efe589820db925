// The quality menu: automatic, or one rung by hand. Absent while there is only one.

import type { Snapshot } from '../player/session';
import type { Rung } from '../player/engine';
import { attribute, el, text, toggle } from './dom';
import { icon } from './icons';
import { bits } from './words';

export class QualityMenu {
  readonly button = el(
    'button',
    { type: 'button', class: 'control quality', 'aria-label': 'Quality', 'aria-haspopup': 'menu', 'aria-expanded': 'false', hidden: true },
    icon('quality'),
    el('span', { class: 'tag' }),
  );
  readonly element = el('div', { class: 'menu', role: 'menu', 'aria-label': 'Quality', hidden: true });
  private known = '';

  constructor(private readonly choose: (rung: number) => void) {
    this.button.addEventListener('click', () => this.open(this.element.hidden));
    this.element.addEventListener('keydown', (event) => this.key(event));
  }

  open(open: boolean): void {
    toggle(this.element, !open);
    attribute(this.button, 'aria-expanded', String(open));
    if (open) (this.items().find((item) => item.ariaChecked === 'true') ?? this.items()[0])?.focus();
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  render(snapshot: Snapshot): void {
    const { rungs, chosen, playing } = snapshot;
    toggle(this.button, rungs.length < 2);
    if (rungs.length < 2) {
      if (this.isOpen) this.open(false);
      return;
    }
    const current = rungs[playing];
    const tag = this.button.querySelector('.tag');
    if (tag) text(tag, current ? label(current) : 'Auto');
    const key = JSON.stringify([rungs, chosen, chosen < 0 ? playing : -1]);
    if (key === this.known) return;
    this.known = key;
    const focused = this.items().findIndex((item) => item === document.activeElement);
    const auto = current && chosen < 0 ? `Auto (${label(current)})` : 'Auto';
    this.element.replaceChildren(
      this.item(auto, '', -1, chosen < 0),
      ...[...rungs]
        .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
        .map((rung) => this.item(label(rung), rung.bitrate > 0 ? bits(rung.bitrate) : '', rung.index, chosen === rung.index)),
    );
    this.items()[focused]?.focus();
  }

  private item(title: string, detail: string, rung: number, checked: boolean): HTMLElement {
    const item = el(
      'button',
      { type: 'button', role: 'menuitemradio', 'aria-checked': String(checked), tabindex: -1 },
      icon('check'),
      el('span', {}, title),
      el('small', {}, detail),
    );
    item.addEventListener('click', () => {
      this.choose(rung);
      this.open(false);
      this.button.focus();
    });
    return item;
  }

  private items(): HTMLElement[] {
    return [...this.element.querySelectorAll('button')];
  }

  private key(event: KeyboardEvent): void {
    const items = this.items();
    const at = items.findIndex((item) => item === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) items[(to + items.length) % items.length]?.focus();
    else if (event.key === 'Escape') {
      this.open(false);
      this.button.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function label(rung: Rung): string {
  return rung.height > 0 ? `${rung.height}p` : rung.name || bits(rung.bitrate);
}
