// Asking before something is done that cannot be undone, and saying what became of it.

import { el } from '../ui/dom';
import { Problem } from './api';

/** A question in a dialog; true if it is answered with the button that does it. */
export function ask(question: string, detail: string, does: string): Promise<boolean> {
  const yes = el('button', { type: 'submit', class: 'button danger', value: 'yes' }, does);
  const no = el('button', { type: 'submit', class: 'button quiet', value: 'no' }, 'Cancel');
  const form = el('form', { method: 'dialog' }, el('h2', { id: 'question' }, question), el('p', {}, detail), el('div', { class: 'actions' }, no, yes));
  return answer(el('dialog', { 'aria-labelledby': 'question' }, form)).then((value) => value === 'yes');
}

/** A dialog that shows something and is closed. */
export function tell(title: string, ...content: Node[]): Promise<void> {
  const done = el('button', { type: 'submit', class: 'button', value: 'done' }, 'Done');
  const form = el('form', { method: 'dialog' }, el('h2', { id: 'question' }, title), ...content, el('div', { class: 'actions' }, done));
  return answer(el('dialog', { 'aria-labelledby': 'question' }, form)).then(() => undefined);
}

/** A dialog with a field; null if it is given up. */
export function prompt(title: string, label: string, does: string, most: number): Promise<string | null> {
  const field = el('input', { id: 'answer', maxlength: most, required: true, autocomplete: 'off' });
  const yes = el('button', { type: 'submit', class: 'button', value: 'yes' }, does);
  const no = el('button', { type: 'submit', class: 'button quiet', value: 'no', formnovalidate: true }, 'Cancel');
  const form = el('form', { method: 'dialog' }, el('h2', { id: 'question' }, title), el('label', { for: 'answer' }, label), field, el('div', { class: 'actions' }, no, yes));
  return answer(el('dialog', { 'aria-labelledby': 'question' }, form)).then((value) => (value === 'yes' ? field.value.trim() : null));
}

function answer(dialog: HTMLDialogElement): Promise<string> {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Says what happened, for some seconds and to screen readers. */
export function say(what: string, bad = false): void {
  const place = document.querySelector('#said');
  const message = el('p', bad ? { class: 'bad' } : {}, what);
  place?.append(message);
  setTimeout(() => message.remove(), bad ? BAD_MS : GOOD_MS);
}

/** Does something that a button asks for: the button rests meanwhile, and what became of it is said. */
export async function act(button: HTMLButtonElement, does: () => Promise<unknown>, done: string): Promise<boolean> {
  button.disabled = true;
  try {
    await does();
    say(done);
    return true;
  } catch (error) {
    say(error instanceof Problem ? error.message : `It could not be done: ${String(error)}`, true);
    return false;
  } finally {
    button.disabled = false;
  }
}

const GOOD_MS = 4_000;
const BAD_MS = 10_000;
