// Pieces that several views have: states, health, tables, lines to copy.

import { copyable } from '../ui/copy';
import { attribute, el, text } from '../ui/dom';
import { icon } from '../ui/icons';
import type { Finding, Health } from './api';
import { span } from './format';

/** A state by shape, colour and word. */
export function chip(): { element: HTMLElement; show: (state: string) => void } {
  const word = el('span');
  const element = el('span', { class: 'chip' }, el('i', { 'aria-hidden': 'true' }), word);
  return {
    element,
    show: (state) => {
      attribute(element, 'data-state', state);
      text(word, STATES[state] ?? state);
    },
  };
}

const STATES: Record<string, string> = {
  live: 'Live', starting: 'Starting', waiting: 'Waiting', ended: 'Over', cold: 'Resting', shed: 'Off',
  good: 'Healthy', warning: 'Warning', problem: 'Problem', info: 'Note',
};

export function health(value: Health): HTMLElement {
  const { element, show } = chip();
  show(value);
  return element;
}

export function findings(list: Finding[]): HTMLElement {
  if (list.length === 0) return el('p', { class: 'soft' }, 'Nothing is wrong with this stream.');
  const items = list.map((finding) => {
    const { element, show } = chip();
    show(finding.severity);
    const since = finding.since_ms === null ? '' : ` for ${span(Date.now() - finding.since_ms)}`;
    return el('li', { 'data-severity': finding.severity }, element, el('span', { class: 'soft' }, since), el('p', {}, finding.text), el('p', { class: 'remedy' }, finding.remedy));
  });
  return el('ul', { class: 'findings' }, ...items);
}

/** A table that scrolls by itself where it is wider than the screen. */
export function table(caption: string, heads: string[], rows: (Node | string)[][]): HTMLElement {
  const head = el('tr', {}, ...heads.map((text) => el('th', { scope: 'col' }, text)));
  const body = rows.map((cells) => el('tr', {}, ...cells.map((cell, i) => el('td', { 'data-label': heads[i] ?? '' }, cell))));
  const whole = el('table', {}, el('caption', { class: 'unseen' }, caption), el('thead', {}, head), el('tbody', {}, ...body));
  return el('div', { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': caption }, whole);
}

export function copyLine(label: string, value: string): HTMLElement {
  const button = el('button', { type: 'button', class: 'button quiet small', 'aria-label': `Copy ${label}` }, icon('copy'), '');
  return el('p', { class: 'copy-line' }, el('span', {}, label), el('code', {}, value), copyable(button, () => value));
}

export function button(label: string, kind = 'quiet'): HTMLButtonElement {
  return el('button', { type: 'button', class: `button small ${kind}` }, label);
}

/** How to go on air, for one stream and perhaps a secret. */
export function recipes({ http, rtmp }: { http: string; rtmp: string }, name: string, secret: string | null): HTMLElement {
  const key = secret === null ? name : `${name}?key=${secret}`;
  const parts: [string, ...HTMLElement[]][] = [
    ['OBS over RTMP', copyLine('Server', rtmp), copyLine('Stream Key', key)],
    ['OBS over WHIP', copyLine('Server', `${http}/whip/${name}`), ...(secret === null ? [] : [copyLine('Bearer Token', secret)])],
    ['This browser', copyLine('Page', `${http}/publish/${name}`)],
    ['ffmpeg', copyLine('Command', `ffmpeg -re -i show.mp4 -c:v libx264 -preset veryfast -g 60 -bf 0 -c:a aac -f flv '${rtmp}/${key}'`)],
    ['GStreamer', copyLine('Command', `gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=60 ! flvmux streamable=true ! rtmp2sink location='${rtmp}/${key}'`)],
  ];
  return el('div', { class: 'recipes' }, ...parts.map(([title, ...lines]) => el('section', {}, el('h3', {}, title), ...lines)));
}
