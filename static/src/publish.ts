// The publish page: what to send, a preview of it, the button that puts it on the air, and how it goes.

import { nameOf } from './location';
import { capture, devices, type Capture, type Source } from './publish/capture';
import { listCheck } from './check';
import { Meter } from './publish/meter';
import { Whip, type Finding, type Health, type State } from './publish/whip';
import { el, text, toggle } from './ui/dom';
import { bits } from './ui/words';

const name = nameOf(location.pathname);
const url = `/whip/${encodeURIComponent(name)}`;

const BADGE: Record<State, string> = {
  off: 'Off air',
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  refused: 'Refused',
};

const at = <T extends HTMLElement>(selector: string): T => {
  const found = document.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
};
const preview = at<HTMLVideoElement>('#preview');
const empty = at('#empty');
const badge = at('#badge');
const go = at<HTMLButtonElement>('#go');
const note = at('#note');
const source = at<HTMLSelectElement>('#source');
const camera = at<HTMLSelectElement>('#camera');
const microphone = at<HTMLSelectElement>('#microphone');
const size = at<HTMLSelectElement>('#size');
const bitrate = at<HTMLSelectElement>('#bitrate');
const key = at<HTMLInputElement>('#key');
const meter = at<HTMLMeterElement>('#meter');
const health = at('#health');
const steps = at('#steps');
const doctor = at('#doctor');
const findings = at('#findings');
const watch = at<HTMLAnchorElement>('#watch');

let captured: Capture | null = null;
let whip: Whip | null = null;
const level = new Meter();

document.title = `${name} · Publish · Headwater`;
text(at('#name'), name);
watch.href = `/watch/${encodeURIComponent(name)}`;
text(watch, `${location.origin}/watch/${name}`);

async function look(): Promise<void> {
  captured?.stop();
  captured = null;
  render();
  if (!('mediaDevices' in navigator)) {
    say('Browsers give cameras and microphones to https:// and localhost alone: open this page there.');
    return;
  }
  try {
    captured = await capture({
      source: source.value as Source,
      camera: camera.value,
      microphone: microphone.value,
      height: Number(size.value),
    });
    say('');
    await list();
  } catch (error) {
    say(refusal(error));
  }
  const stream = captured?.stream ?? null;
  preview.srcObject = stream;
  level.follow(stream);
  stream?.getVideoTracks()[0]?.addEventListener('ended', () => void look());
  if (whip) {
    // What is on the air goes over to what was chosen now.
    whip.stop();
    whip = null;
    if (stream) start();
  }
  render();
}

async function list(): Promise<void> {
  const { cameras, microphones } = await devices();
  const fill = (select: HTMLSelectElement, found: MediaDeviceInfo[], none: string[]) => {
    const chosen = select.value;
    const known = found.filter((device) => device.deviceId !== '');
    const options = known.map((device, index) => el('option', { value: device.deviceId }, device.label || `Device ${index + 1}`));
    const extra = none.map((label) => el('option', { value: 'none' }, label));
    select.replaceChildren(...(options.length > 0 ? options : [el('option', { value: '' }, 'Default')]), ...extra);
    if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
  };
  fill(camera, cameras, []);
  fill(microphone, microphones, ['No microphone']);
}

function start(): void {
  if (!captured) return;
  whip = new Whip(captured.stream, { url, key: key.value.trim(), bitrate: Number(bitrate.value) * 1000 }, render);
  render();
}

function render(): void {
  const state = whip?.state ?? 'off';
  badge.dataset['state'] = state;
  text(badge, BADGE[state]);
  toggle(empty, captured !== null && captured.stream.getVideoTracks().length > 0);
  const on = state !== 'off' && state !== 'refused';
  go.disabled = !on && (captured?.stream.getTracks().length ?? 0) === 0;
  go.classList.toggle('stop', on);
  text(go, on ? 'Stop' : 'Go live');
  if (state === 'refused' && whip) say(whip.reason);
}

function say(words: string): void {
  text(note, words);
  toggle(note, words === '');
}

function refusal(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'The browser was not allowed to use the camera, microphone or screen. Allow it beside the address, and choose again.';
  if (name === 'NotFoundError') return 'There is no such camera or microphone. Choose another source.';
  if (name === 'NotReadableError') return 'Another program uses the camera or microphone.';
  return error instanceof Error ? error.message : String(error);
}

function paint(now: Health | null): void {
  const rows: [string, string][] = now
    ? [
        ['Sent', bits(now.bitrate)],
        ['Picture', now.width > 0 ? `${now.width} × ${now.height}, ${now.fps} fps, ${now.codec}` : 'none'],
        ['Lost', `${(now.loss * 100).toFixed(1)} %`],
        ['Round trip', `${Math.round(now.roundTrip)} ms`],
        ['Held back by', { none: 'nothing', cpu: 'the processor', bandwidth: 'the link' }[now.limited] ?? now.limited],
      ]
    : [['State', BADGE[whip?.state ?? 'off']]];
  health.replaceChildren(...rows.flatMap(([title, value]) => [el('dt', {}, title), el('dd', {}, value)]));
}

const WORSE: Record<Finding['severity'], string> = { info: 'Good to know', warning: 'Warning', problem: 'Problem' };
let told = '';

function tell(found: Finding[]): void {
  toggle(doctor, found.length === 0);
  // Screen readers read the list anew whenever it is replaced.
  const now = found.map(({ code, severity }) => `${code} ${severity}`).join();
  if (now === told) return;
  told = now;
  findings.replaceChildren(
    ...found.map(({ severity, text: words, remedy }) =>
      el('li', { 'data-severity': severity }, el('strong', {}, `${WORSE[severity]}: `), words, el('p', {}, remedy)),
    ),
  );
}

go.addEventListener('click', () => {
  const on = whip !== null && whip.state !== 'refused';
  whip?.stop();
  whip = null;
  say('');
  if (!on) start();
  render();
});
for (const choice of [source, camera, microphone, size]) choice.addEventListener('change', () => void look());
at('#form').addEventListener('submit', (event) => event.preventDefault());
at('#test').addEventListener('click', () => {
  void listCheck({ url, key: key.value.trim(), watch: false }, steps);
});
window.setInterval(() => {
  meter.value = level.level;
}, 100);
window.setInterval(() => void (whip?.health() ?? Promise.resolve(null)).then(paint), 1_000);
window.setInterval(() => void (whip?.findings() ?? Promise.resolve([])).then(tell), 3_000);
window.addEventListener('pagehide', () => whip?.stop());
void look();
