// The quality menu: automatic, or one rung by hand, the source and the sound alone among them. Absent while there is only one.

import type { Snapshot } from '../player/session';
import { Choices } from './choices';
import { text, toggle } from './dom';
import { bits, rungTitle } from './words';
import { AUTO } from '../player/engine';

export class QualityMenu extends Choices {
  private known = '';

  constructor(private readonly choose: (key: string) => void) {
    super('Quality', 'quality', 'quality', 'qualities');
    toggle(this.button, true);
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
    const auto = current && chosen === AUTO ? `Auto (${rungTitle(current)})` : 'Auto';
    this.fill([
      this.item(auto, '', chosen === AUTO, () => this.choose(AUTO)),
      ...[...rungs]
        .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate)
        .map((rung) => {
          const rate = rung.bitrate > 0 ? bits(rung.bitrate) : '';
          const detail = rung.key === 'source' ? `source, ${rate}` : rate;
          return this.item(rungTitle(rung), detail, chosen === rung.key, () => this.choose(rung.key));
        }),
    ]);
  }
}
