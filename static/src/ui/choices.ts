// A menu of choices, one of which is in force: the button that opens it, its items, and the keys that walk them.

import { attribute, el, toggle } from './dom';
import { icon, type IconName } from './icons';

export class Choices {
  readonly button: HTMLElement;
  readonly element: HTMLElement;

  constructor(label: string, name: IconName, button: string, menu: string) {
    this.button = el(
      'button',
      { type: 'button', class: `control ${button}`, 'aria-label': label, 'aria-haspopup': 'menu', 'aria-expanded': 'false' },
      icon(name),
      el('span', { class: 'tag' }),
    );
    this.element = el('div', { class: `menu ${menu}`, role: 'menu', 'aria-label': label, hidden: true });
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

  /** Other items in place of the present ones; the one that has the focus keeps it. */
  protected fill(items: HTMLElement[]): void {
    const focused = this.items().findIndex((item) => item === document.activeElement);
    this.element.replaceChildren(...items);
    this.items()[focused]?.focus();
  }

  protected item(title: string, detail: string, checked: boolean, chosen: () => void): HTMLElement {
    const item = el(
      'button',
      { type: 'button', role: 'menuitemradio', 'aria-checked': String(checked), tabindex: -1 },
      icon('check'),
      el('span', {}, title),
      el('small', {}, detail),
    );
    item.addEventListener('click', () => {
      chosen();
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
