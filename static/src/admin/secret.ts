// A key's secret: shown once when the key is made, and made anew. Used by the page of keys and by a stream's page.

import { el } from '../ui/dom';
import { api, at, reach, type Key, type Version } from './api';
import { act, ask, tell } from './ask';
import { button, copyLine, recipes } from './parts';

export type Made = Key & { secret: string };

export async function showMade(made: Made): Promise<void> {
  const version = await api.get<Version>('/version');
  const name = made.stream !== null && !made.stream.includes('*') ? made.stream : 'NAME';
  const use = made.grant === 'publish' ? [recipes(reach(version), name, made.secret)] : [];
  await tell('The secret of this key', el('p', {}, 'It is shown this once: copy it now. Who has lost it rotates the key.'), copyLine('Secret', made.secret), ...use);
}

/** Gives a key another secret, when asked twice. `key`: its id and what people call it, at the time. */
export function rotator(label: string, key: () => { id: string; name: string }, done: () => Promise<void>): HTMLButtonElement {
  const rotate = button(label);
  rotate.addEventListener('click', () => {
    const { id, name } = key();
    void ask(`Rotate ${name}?`, 'The key gets another secret. What the old one opened ends at once.', 'Rotate').then((yes) => {
      if (!yes) return;
      void act(rotate, async () => {
        const made = await api.post<Made>(at`/keys/${id}/rotate`);
        void showMade(made).then(done);
      }, 'The key has another secret.');
    });
  });
  return rotate;
}
