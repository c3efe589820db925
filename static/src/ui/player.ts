// The player as a viewer sees it: the picture, the poster over it, the controls below it. Builds its elements, turns clicks
// and keys into the session's verbs, and paints what the session says. The watch page and the embed page both mount it.

import { Session, type Snapshot } from '../player/session';
import { Announcer } from './announcer';
import { attribute, el, text, toggle } from './dom';
import { icon, setIcon } from './icons';
import { isTaken, KeyList, verbOf, type Verb } from './keyboard';
import { DelayMenu } from './delay';
import { QualityMenu } from './menu';
import { Poster } from './poster';
import { SeekBar } from './seekbar';
import { Stats } from './stats';
import { storeAim, storedAim, storedQuality, storedVolume, storeQuality, storeVolume } from './stored';

export interface PlayerOptions {
  name: string;
  controls: boolean;
  muted: boolean;
  autoplay: boolean;
}

export class Player {
  readonly session: Session;
  readonly element: HTMLElement;
  readonly video = el('video', { playsinline: true, preload: 'auto', 'aria-label': 'Live picture' });

  private readonly playButton = control('Play', 'play');
  private readonly muteButton = control('Mute', 'sound');
  private readonly volume = el('input', { type: 'range', class: 'volume', min: 0, max: 100, 'aria-label': 'Volume' });
  private readonly liveButton = el('button', { type: 'button', class: 'live' }, el('i'), el('span', {}, 'Live'));
  private readonly delay = el('span', { class: 'delay' });
  private readonly statsButton = control('Statistics', 'stats');
  private readonly pipButton = control('Picture in picture', 'pip');
  private readonly fullscreenButton = control('Full screen', 'fullscreen');
  private readonly helpButton = control('Keyboard shortcuts', 'help');
  private readonly unmute = el('button', { type: 'button', class: 'unmute', hidden: true }, icon('muted'), 'Tap for sound');
  private readonly bigPlay = el('button', { type: 'button', class: 'big-play', 'aria-label': 'Play', hidden: true }, icon('play'));
  private readonly spinner = el('div', { class: 'spinner', 'aria-hidden': 'true', hidden: true });
  private readonly seekBar = new SeekBar((to) => this.session.seek(to));
  private readonly menu = new QualityMenu((key) => this.choose(key));
  private readonly delays = new DelayMenu((aim) => {
    this.session.aimFor(aim);
    storeAim(aim);
  });
  private readonly stats: Stats;
  private readonly keys: KeyList;
  private readonly poster: Poster;
  private readonly announcer = new Announcer();
  private idleTimer = 0;

  constructor(private readonly options: PlayerOptions) {
    this.video.muted = options.muted;
    this.video.volume = storedVolume();
    const closeStats = control('Close statistics', 'close');
    const closeKeys = control('Close the list', 'close');
    this.stats = new Stats(this.video, closeStats);
    this.keys = new KeyList(closeKeys);
    this.poster = new Poster(options.name, () => this.session.replay());
    this.element = el('div', { class: 'player', role: 'region', 'aria-label': `Player: ${options.name}` });
    this.element.append(this.video, this.spinner, this.poster.element, this.poster.note, this.bigPlay);
    if (options.controls) this.element.append(this.unmute, this.stats.element, this.keys.element, this.controls());
    this.element.append(this.announcer.element);
    this.session = new Session(this.video, { name: options.name, autoplay: options.autoplay, quality: storedQuality(), aim: storedAim(location.search) });
    closeStats.addEventListener('click', () => this.stats.show(false));
    closeKeys.addEventListener('click', () => this.act('help'));
    this.listen();
    this.session.onChange((snapshot) => this.render(snapshot));
  }

  act(verb: Verb): void {
    const { session, video } = this;
    switch (verb) {
      case 'toggle':
        session.toggle();
        break;
      case 'mute':
        this.setMuted(!video.muted);
        break;
      case 'fullscreen':
        void this.toggleFullscreen();
        break;
      case 'live':
        session.goLive();
        break;
      case 'stats':
        this.stats.show(!this.stats.shown);
        break;
      case 'pip':
        void this.togglePictureInPicture();
        break;
      case 'help':
        this.keys.show(!this.keys.shown);
        if (!this.keys.shown) this.helpButton.focus();
        break;
      case 'back':
        session.seekBy(-STEP);
        break;
      case 'on':
        session.seekBy(STEP);
        break;
      case 'louder':
        this.setVolume(video.volume + 0.1);
        break;
      case 'softer':
        this.setVolume(video.volume - 0.1);
        break;
      case 'escape':
        this.keys.show(false);
        this.menu.open(false);
        this.delays.open(false);
        break;
    }
    this.wake();
  }

  private controls(): HTMLElement {
    const volume = el('div', { class: 'sound' }, this.muteButton, this.volume);
    const left = el('div', { class: 'group' }, this.playButton, volume, this.liveButton, this.delay);
    const right = el('div', { class: 'group' }, this.delays.button, this.menu.button, this.statsButton, this.helpButton, this.pipButton, this.fullscreenButton);
    const row = el('div', { class: 'row' }, left, right);
    return el('div', { class: 'controls' }, this.delays.element, this.menu.element, this.seekBar.element, row);
  }

  private listen(): void {
    const { element, session } = this;
    const press = (button: HTMLElement, verb: Verb) => button.addEventListener('click', () => this.act(verb));
    press(this.playButton, 'toggle');
    press(this.muteButton, 'mute');
    press(this.liveButton, 'live');
    press(this.statsButton, 'stats');
    press(this.pipButton, 'pip');
    press(this.fullscreenButton, 'fullscreen');
    press(this.helpButton, 'help');
    this.unmute.addEventListener('click', () => this.setMuted(false));
    this.bigPlay.addEventListener('click', () => session.play());
    this.volume.addEventListener('input', () => this.setVolume(Number(this.volume.value) / 100));
    this.video.addEventListener('click', () => this.clicked());
    this.video.addEventListener('dblclick', () => this.act('fullscreen'));
    for (const type of ['pointermove', 'pointerdown', 'focusin']) element.addEventListener(type, () => this.wake());
    element.addEventListener('pointerleave', () => this.sleep());
    if (this.options.controls) document.addEventListener('keydown', (event) => this.key(event));
  }

  private key(event: KeyboardEvent): void {
    if (event.defaultPrevented || isTaken(event)) return;
    const verb = verbOf(event);
    if (verb === null || (verb === 'escape' && !this.keys.shown && !this.menu.isOpen && !this.delays.isOpen)) return;
    event.preventDefault();
    this.act(verb);
  }

  /** A click on the picture: with a mouse it pauses, with a finger it shows the controls first. */
  private clicked(): void {
    if (!this.options.controls) {
      this.setMuted(!this.video.muted);
      return;
    }
    if ((this.menu.isOpen || this.delays.isOpen) || this.keys.shown) this.act('escape');
    else if (matchMedia('(hover: hover)').matches || this.video.paused) this.act('toggle');
  }

  private choose(key: string): void {
    this.session.choose(key);
    storeQuality(key);
  }

  private setMuted(muted: boolean): void {
    this.video.muted = muted;
    if (!muted && this.video.volume === 0) this.video.volume = 0.5;
  }

  private setVolume(volume: number): void {
    this.video.volume = Math.min(1, Math.max(0, volume));
    this.video.muted = this.video.volume === 0;
    storeVolume(this.video.volume);
  }

  private async toggleFullscreen(): Promise<void> {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.element.requestFullscreen) await this.element.requestFullscreen();
      // iPhones let only the picture itself fill the screen.
      else (this.video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
    } catch {
      this.announcer.say('Full screen is not available.');
    }
  }

  private async togglePictureInPicture(): Promise<void> {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      this.announcer.say('Picture in picture is not available.');
    }
  }

  private wake(): void {
    this.element.classList.remove('idle');
    clearTimeout(this.idleTimer);
    this.idleTimer = window.setTimeout(() => this.sleep(), IDLE_MS);
  }

  private sleep(): void {
    const busy = this.video.paused || (this.menu.isOpen || this.delays.isOpen) || this.keys.shown || this.element.querySelector(':focus-visible') !== null;
    if (!busy) this.element.classList.add('idle');
  }

  private render(snapshot: Snapshot): void {
    const { state, begun } = snapshot;
    const { muted, paused, volume } = this.video;
    attribute(this.element, 'data-state', state);
    this.poster.render(snapshot);
    this.announcer.render(state);
    toggle(this.spinner, !(state === 'buffering' || state === 'starting'));
    toggle(this.bigPlay, !(state === 'paused' && !(begun && this.options.controls)));
    this.element.classList.toggle('sound-only', begun && this.video.readyState >= 2 && this.video.videoWidth === 0);
    if (!this.options.controls) return;
    toggle(this.unmute, !(begun && muted));
    attribute(this.playButton, 'aria-label', paused ? 'Play' : 'Pause');
    setIcon(this.playButton, paused ? 'play' : 'pause');
    this.playButton.toggleAttribute('disabled', snapshot.window === null);
    attribute(this.muteButton, 'aria-label', muted ? 'Unmute' : 'Mute');
    setIcon(this.muteButton, muted ? 'muted' : volume < 0.5 ? 'soft' : 'sound');
    const loud = muted ? 0 : Math.round(volume * 100);
    if (document.activeElement !== this.volume || muted) this.volume.value = String(loud);
    this.volume.style.setProperty('--played', `${loud}%`);
    this.renderLive(snapshot);
    this.seekBar.render(snapshot);
    this.menu.render(snapshot);
    this.delays.render(snapshot);
    this.stats.render(snapshot);
    attribute(this.statsButton, 'aria-pressed', String(this.stats.shown));
    toggle(this.pipButton, !document.pictureInPictureEnabled || this.video.videoWidth === 0);
    const full = document.fullscreenElement !== null;
    setIcon(this.fullscreenButton, full ? 'window' : 'fullscreen');
    attribute(this.fullscreenButton, 'aria-label', full ? 'Leave full screen' : 'Full screen');
  }

  private renderLive(snapshot: Snapshot): void {
    const { window: span, following, latency, state } = snapshot;
    const live = span?.live ?? false;
    toggle(this.liveButton, !live);
    toggle(this.delay, !live);
    const atEdge = following && state !== 'paused';
    this.liveButton.classList.toggle('at-edge', atEdge);
    const label = this.liveButton.querySelector('span');
    if (label) text(label, atEdge ? 'Live' : 'Go live');
    attribute(this.liveButton, 'aria-label', atEdge ? 'Live' : 'Go to the live picture');
    text(this.delay, latency === null ? '' : latency < 10 ? `${latency.toFixed(1)} s` : `${Math.round(latency)} s`);
    attribute(this.delay, 'title', 'Behind the live edge');
  }
}

function control(label: string, name: Parameters<typeof icon>[0]): HTMLButtonElement {
  const button = el('button', { type: 'button', class: 'control', 'aria-label': label, title: label }, icon(name));
  button.dataset['icon'] = name;
  return button;
}

/** Seconds per press of an arrow key. */
const STEP = 5;
/** The controls go away when nothing moved for so long. */
const IDLE_MS = 2_800;
