// The home page: a way to a stream, and the way onto the air.

import { copyable } from './ui/copy';
import { el, text } from './ui/dom';
import { icon } from './ui/icons';

const field = document.querySelector<HTMLInputElement>('#stream');
document.querySelector('#open')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const name = field?.value.trim() ?? '';
  if (name !== '') location.assign(`/watch/${encodeURIComponent(name)}`);
});

// The address as the broadcaster has to type it: the host that this page came from.
const host = location.hostname || 'HOST';
for (const place of document.querySelectorAll('[data-template]')) {
  const template = place.getAttribute('data-template') ?? '';
  const show = () => {
    const name = field?.value.trim() || 'myshow';
    text(place, template.replaceAll('{host}', host).replaceAll('{origin}', location.origin).replaceAll('{name}', name));
  };
  show();
  field?.addEventListener('input', show);
}

for (const line of document.querySelectorAll('.copy-line')) {
  const button = el('button', { type: 'button', class: 'button quiet small', 'aria-label': 'Copy' }, icon('copy'), '');
  line.append(copyable(button, () => line.querySelector('code')?.textContent ?? ''));
}
