// The quality menu: automatic, or one rung by hand, the source and the sound alone among them. Absent while there is only one.

import type { Snapshot } from '../player/session';
import { attribute, el, text, toggle } from './dom';
import { icon } from './icons';
import { bits, rungTitle } from './words';
import { AUTO } from '../player/engine';

export class QualityMenu {
  readonly button = el(
    'button',
    { type: 'button', class: 'control quality', 'aria-label': 'Quality', 'aria-haspopup': 'menu', 'aria-expanded': 'false', hidden: true },
    icon('quality'),
    el('span', { class: 'tag' }),
  );
  readonly element = el('div', { class: 'menu', role: 'menu', 'aria-label': 'Quality', hidden: true });
  private known = '';

  constructor(private readonly choose: (key: string) => void) {
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
    if (tag) text(tag, current ? rungTitle(current) : 'Auto');
    const key = JSON.stringify([rungs, chosen, chosen === AUTO ? playing : -1]);
    if (key === this.known) return;
    this.known = key;
    const focused = this.items().findIndex((item) => item === document.activeElement);
    const auto = current && chosen === AUTO ? `Auto (${rungTitle(current)})` : 'Auto';
    this.element.replaceChildren(
      this.item(auto, '', AUTO, chosen === AUTO),
      ...[...rungs]
        .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
        .map((rung) => {
          const rate = rung.bitrate > 0 ? bits(rung.bitrate) : '';
          const detail = rung.key === 'source' ? `source, ${rate}` : rate;
          return this.item(rungTitle(rung), detail, rung.key, chosen === rung.key);
        }),
    );
    this.items()[focused]?.focus();
  }

  private item(title: string, detail: string, key: string, checked: boolean): HTMLElement {
    const item = el(
      'button',
      { type: 'button', role: 'menuitemradio', 'aria-checked': String(checked), tabindex: -1 },
      icon('check'),
      el('span', {}, title),
      el('small', {}, detail),
    );
    item.addEventListener('click', () => {
      this.choose(key);
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
