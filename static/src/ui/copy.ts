// A button that copies a text and says so.

import { setIcon, type IconName } from './icons';

export function copyable(button: HTMLButtonElement, what: () => string): HTMLButtonElement {
  const label = button.lastChild;
  const before = label?.textContent ?? '';
  const plain: IconName = 'copy';
  button.setAttribute('aria-live', 'polite');
  button.addEventListener('click', () => {
    void copy(what()).then((done) => {
      const original = button.querySelector('svg')?.cloneNode(true);
      setIcon(button, done ? 'check' : plain);
      if (label) label.textContent = done ? 'Copied' : 'Copying is not allowed here';
      window.setTimeout(() => {
        delete button.dataset['icon'];
        if (original) button.querySelector('svg')?.replaceWith(original);
        if (label) label.textContent = before;
      }, SHOWN_MS);
    });
  });
  return button;
}

/** The clipboard is there only on https and localhost; elsewhere a selection and the old command do. */
async function copy(value: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = value;
    area.className = 'unseen';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

const SHOWN_MS = 1_600;
