// What happened, the newest first, in words.

import { el } from '../../ui/dom';
import type { Happened } from '../api';
import { clock } from '../format';

export class Timeline {
  readonly element = el('ol', { class: 'timeline' });

  add(event: Happened, withStream = false): void {
    const { reason, text, by, who, peer } = event.data as Record<string, string | undefined>;
    const detail = [text ?? reason, peer, who ?? by].filter(Boolean).join(' · ');
    const stream = withStream && event.stream !== null ? [el('a', { href: `#/streams/${encodeURIComponent(event.stream)}` }, event.stream), ' '] : [];
    this.element.prepend(
      el('li', { 'data-kind': event.kind.split('.')[0] ?? '' },
        el('time', { datetime: new Date(event.at_ms).toISOString() }, clock(event.at_ms)),
        el('span', {}, ...stream, el('b', {}, WORDS[event.kind] ?? event.kind.replace(/[._]/g, ' ')), detail && ` ${detail}`)),
    );
    while (this.element.childElementCount > MOST) this.element.lastElementChild?.remove();
  }
}

const WORDS: Record<string, string> = {
  'stream.live': 'went live',
  'stream.waiting': 'waits for its publisher',
  'stream.over': 'is over',
  'stream.marked': 'mark:',
  'publisher.connected': 'publisher connected',
  'publisher.gone': 'publisher is gone:',
  'publish.refused': 'publisher refused:',
  'play.refused': 'viewer refused:',
  'viewer.joined': 'viewer joined',
  'viewer.left': 'viewer left',
  'doctor.finding': 'finding:',
  'doctor.cleared': 'finding is over:',
  'config.applied': 'configuration applied',
  'config.refused': 'configuration refused:',
};

/** Events that are shown. */
const MOST = 200;
