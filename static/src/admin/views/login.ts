// The login form: the admin token for a cookie.

import { el } from '../../ui/dom';
import { api, Problem } from '../api';
import type { View } from '../view';

export function loginView(entered: () => void): View {
  const field = el('input', { id: 'token', type: 'password', autocomplete: 'current-password', required: true });
  const error = el('p', { class: 'bad', role: 'alert' });
  const submit = el('button', { type: 'submit', class: 'button' }, 'Log in');
  const form = el(
    'form', { class: 'login' },
    el('h1', {}, 'Admin'),
    el('label', { for: 'token' }, 'Admin token'),
    field,
    el('p', { class: 'soft' }, 'The first start prints it once; it is kept in the file admin-token of the data directory, unless admin.token is configured.'),
    error,
    submit,
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit.disabled = true;
    api.post('/login', { token: field.value.trim() }).then(entered, (problem: unknown) => {
      error.textContent = problem instanceof Problem ? problem.message : 'The server does not answer.';
      submit.disabled = false;
      field.select();
    });
  });
  queueMicrotask(() => field.focus());
  return { title: 'Log in', element: form };
}
