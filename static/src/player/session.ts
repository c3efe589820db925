// One viewer and one stream name, for as long as the page is open: waits while it is off the air, starts an engine when the
// show begins, keeps it at the live edge, and goes back to waiting when it is over. The only place that touches the video
// element's playback. The pages above read `snapshot()` and call the verbs; nothing here knows the document around it.

import { prefixOf } from '../location';
import { Backoff } from './backoff';
import { EdgeClock } from './edge';
import { AUTO, type Engine, type EngineEvent, type Pictures, type Rung, type Window } from './engine';
import { HlsEngine } from './hls';
import { LatencyController } from './latency';
import { NativeEngine } from './native';
import { type Answer, probe } from './probe';
import { Stalls } from './stalls';
import { judge, type Facts, SILENCE, type State } from './state';
import { WhepEngine } from './whep';

/** How close to the moment a viewer wants to be, and what that may cost: real time has no way back, safety has no haste. */
export type Aim = 'realtime' | 'low' | 'safe';

/** What can be shown. Times in seconds, null where unknown. */
export interface Snapshot {
  state: State;
  /** True once there is something to see behind the controls. */
  begun: boolean;
  /** The server answers. */
  reachable: boolean;
  /** Why, in one plain sentence; empty where the state says it all. */
  reason: string;
  latency: number | null;
  target: number | null;
  forward: number;
  rate: number;
  stalls: number;
  stallSeconds: number;
  /** At the live edge, or on the way there by itself. */
  following: boolean;
  window: Window | null;
  position: number;
  rungs: Rung[];
  /** Place of the rung that plays, -1 if unknown. */
  playing: number;
  /** Key of the rung that was chosen by hand; empty for automatic. */
  chosen: string;
  codecs: string;
  pictures: Pictures;
  bandwidth: number;
  protocol: string;
  aim: Aim;
  /** Real time is what plays. */
  realtime: boolean;
  /** An ended show that can still be watched. */
  replayable: boolean;
  /** Seconds to the next question to the server, while waiting. */
  retryIn: number | null;
}

export interface SessionOptions {
  name: string;
  autoplay: boolean;
  /** Key of the rung to begin with, if there is one of that name; empty for automatic. */
  quality: string;
  aim: Aim;
}

export class Session {
  /** Of everything of this stream. */
  private readonly folder: string;
  private readonly url: string;
  private readonly whep: string;
  private readonly edge = new EdgeClock();
  private readonly controller = new LatencyController();
  private readonly stalls = new Stalls();
  private readonly waits = new Backoff(2_000, 10_000);
  private readonly restarts = new Backoff(500, 10_000);
  private readonly listeners = new Set<(snapshot: Snapshot) => void>();
  private readonly timer: number;

  private engine: Engine | null = null;
  private engineStartedAt = 0;
  private phase: Facts['phase'] = 'waiting';
  private window: Window | null = null;
  private epoch: string | null = null;
  private begun = false;
  /** The way from the first picture to the live edge is done. */
  private settled = false;
  private reachable = true;
  private soon = false;
  /** An engine failed and the server has not been asked yet. */
  private lost = false;
  private stuckSince: number | null = null;
  /** The longest silence of the playlist within the present stall. */
  private silence = 0;
  /** How far behind its target the picture stopped, and whether for want of data (else the decoder was late). */
  private stoppedBehind = 0;
  private stoppedDry = false;
  private resumedAt = Number.NEGATIVE_INFINITY;
  private following = true;
  private replaying = false;
  private replayable = false;
  private wanted: boolean;
  private aim: Aim;
  /** Real time is not tried before this, and not so soon again after each failure. */
  private realtimeAt = 0;
  private readonly realtimeWaits = new Backoff(15_000, 300_000);
  /** A connection on trial beside the HLS that plays. */
  private trial: WhepEngine | null = null;
  /** The viewer's choice of quality, for every engine to come. */
  private quality: string;
  /** As the multivariant playlist has them; none while no engine runs. */
  private rungs: Rung[] = [];
  /** The id that the server knows this viewer by, as a query; empty before it gave one. */
  private viewer = '';
  private reason = '';
  private probeTimer = 0;
  private probeAt = 0;
  private generation = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    options: SessionOptions,
  ) {
    const base = prefixOf(location.pathname);
    this.folder = `${base}/live/${encodeURIComponent(options.name)}/`;
    this.url = `${this.folder}index.m3u8`;
    this.whep = `${base}/whep/${encodeURIComponent(options.name)}`;
    this.wanted = options.autoplay;
    this.quality = options.quality;
    this.aim = options.aim;
    this.controller.keep(options.aim === 'safe' ? SAFETY : 0);
    this.listen();
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
    this.engage();
  }

  /** Calls back whenever something may have changed: with every event, and ten times a second. */
  onChange(listener: (snapshot: Snapshot) => void): void {
    this.listeners.add(listener);
    listener(this.snapshot());
  }

  play(): void {
    this.wanted = true;
    if (this.phase !== 'engaged') return;
    if (this.realtime) {
      this.startVideo();
      return;
    }
    // Whoever paused for a moment stays live; whoever paused longer goes on where they were.
    const latency = this.latency();
    const target = this.target();
    if (latency !== null && target !== null && latency > target + SHORT_PAUSE) this.following = false;
    this.startVideo();
  }

  pause(): void {
    this.wanted = false;
    this.video.pause();
  }

  toggle(): void {
    if (this.video.paused) this.play();
    else this.pause();
  }

  goLive(): void {
    if (this.replaying) {
      this.replaying = false;
      this.wanted = true;
      this.engage();
      return;
    }
    this.following = true;
    this.wanted = true;
    if (this.phase !== 'engaged') return;
    this.stalls.end(now());
    this.jumpToLive();
    this.startVideo();
  }

  /** To a media time within the window. Near the edge it means: live. */
  seek(to: number): void {
    const span = this.window;
    if (!span || this.phase !== 'engaged' || this.realtime) return;
    const target = this.target() ?? span.holdBack;
    if (span.live && to >= span.edge - target - NEAR_LIVE) {
      this.goLive();
      return;
    }
    if (span.live) this.following = false;
    this.stalls.end(now());
    this.video.playbackRate = 1;
    // The oldest segment may leave the window before it is fetched.
    const margin = span.live ? 1 : 0;
    this.video.currentTime = Math.min(Math.max(to, span.start + margin), span.edge);
  }

  seekBy(seconds: number): void {
    this.seek(this.video.currentTime + seconds);
  }

  /** A rung by its key; an empty one leaves the choice to the player. Holds for every start of the stream from now on. */
  choose(key: string): void {
    const before = this.soundAlone();
    this.quality = key;
    // Sound alone is another playlist, and so another engine.
    const other = this.soundAlone() !== before || this.wantsRealtime() !== this.realtime;
    if (this.phase === 'engaged' && other) this.engage();
    else this.engine?.choose(key);
    this.changed();
  }

  /** How close to the moment; holds for every start of the stream from now on. */
  aimFor(aim: Aim): void {
    this.aim = aim;
    this.realtimeAt = 0;
    this.realtimeWaits.reset();
    this.controller.keep(aim === 'safe' ? SAFETY : 0);
    if (this.phase === 'engaged' && this.wantsRealtime() !== this.realtime) this.engage();
    else if (!this.realtime) this.settled = false;
    this.changed();
  }

  private get realtime(): boolean {
    return this.engine instanceof WhepEngine;
  }

  /** The server chooses the rung in real time: whoever chose one by hand has it over HLS. */
  private wantsRealtime(): boolean {
    const free = this.quality === AUTO || this.quality === SOURCE;
    return this.aim === 'realtime' && free && !this.replaying && WhepEngine.supported();
  }

  /** The rung without pictures, if that is what the viewer wants. */
  private soundAlone(): Rung | undefined {
    return this.rungs.find((rung) => rung.sound && rung.key === this.quality);
  }

  /** Watches the ended show from the beginning of what is left of it. */
  replay(): void {
    this.replaying = true;
    this.wanted = true;
    this.engage();
  }

  destroy(): void {
    clearInterval(this.timer);
    this.leave();
    clearTimeout(this.probeTimer);
    this.listeners.clear();
  }

  snapshot(): Snapshot {
    const alone = this.soundAlone();
    return {
      state: this.state(),
      begun: this.begun,
      reachable: this.reachable,
      reason: this.reason,
      latency: this.window?.live ? this.latency() : null,
      target: this.target(),
      forward: this.forward(),
      rate: this.video.playbackRate,
      stalls: this.stalls.count,
      stallSeconds: this.stalls.seconds(now()),
      following: this.following && !this.replaying,
      window: this.phase === 'engaged' ? this.window : null,
      position: this.video.currentTime,
      rungs: this.rungs,
      playing: alone ? this.rungs.indexOf(alone) : (this.engine?.playing ?? -1),
      chosen: alone?.key ?? this.engine?.chosen ?? AUTO,
      codecs: this.engine?.codecs ?? '',
      pictures: this.engine?.pictures ?? 'shown',
      bandwidth: this.engine?.bandwidth ?? 0,
      protocol: this.engine?.protocol ?? '',
      aim: this.aim,
      realtime: this.realtime,
      replayable: this.replayable,
      retryIn: this.phase !== 'engaged' && this.probeAt > 0 ? Math.max(0, this.probeAt - now()) : null,
    };
  }

  private state(): State {
    return judge({
      phase: this.phase,
      reachable: this.reachable,
      soon: this.soon,
      lost: this.lost,
      begun: this.begun,
      paused: this.video.paused && !this.video.ended && (this.begun || !this.wanted),
      stalled: this.stalls.active,
      forward: this.forward(),
      silence: this.window?.live ? this.edge.age(now()) : 0,
    });
  }

  // --- engines come and go -------------------------------------------------------------------------------------------

  /** `ready`: real time that flows already. */
  private engage(ready?: WhepEngine): void {
    this.leave();
    clearTimeout(this.probeTimer);
    this.probeAt = 0;
    this.phase = 'engaged';
    this.lost = false;
    this.following = true;
    this.engineStartedAt = now();
    this.generation += 1;
    const generation = this.generation;
    const tell = (event: EngineEvent) => {
      if (generation === this.generation) this.heard(event);
    };
    if (ready) {
      ready.listen(tell);
      ready.show(this.video);
      this.engine = ready;
      this.rungs = ready.rungs;
      this.startVideo();
      this.changed();
      return;
    }
    if (this.wantsRealtime() && now() >= this.realtimeAt) {
      this.engine = new WhepEngine(this.video, this.whep, this.url, tell);
      this.changed();
      return;
    }
    const alone = this.soundAlone();
    // Under the id that it has, so that whoever comes back is nobody new.
    const url = alone ? `${this.folder}${alone.key}.m3u8${alone.viewer}` : this.url + this.viewer;
    if (HlsEngine.supported()) this.engine = new HlsEngine(this.video, url, tell, this.quality);
    else if (NativeEngine.supported(this.video)) this.engine = new NativeEngine(this.video, url, tell);
    else this.rest('unplayable', 'This browser has neither Media Source Extensions nor HLS of its own.');
    this.changed();
  }

  /** Takes the engine away and forgets what belonged to it. */
  private leave(): void {
    this.generation += 1;
    this.engine?.destroy();
    this.engine = null;
    this.trial?.destroy();
    this.trial = null;
    this.window = null;
    this.epoch = null;
    this.begun = false;
    this.settled = false;
    this.stuckSince = null;
    this.reason = '';
    this.edge.reset();
    this.controller.reset();
    this.stalls.end(now());
    this.video.playbackRate = 1;
  }

  /** No engine runs: wait for the show, and ask from time to time. */
  private rest(phase: 'waiting' | 'ended' | 'unplayable' | 'refused', reason = ''): void {
    this.leave();
    this.rungs = [];
    this.phase = phase;
    this.reason = reason;
    this.replaying = false;
    this.scheduleProbe(phase === 'refused' ? REFUSED_MS : this.waits.next());
    this.changed();
  }

  private heard(event: EngineEvent): void {
    switch (event.kind) {
      case 'window':
        this.moved(event.window, event.epoch);
        break;
      case 'trouble':
        this.reachable = event.answered || (navigator.onLine && this.edge.age(now()) < SILENCE);
        break;
      case 'gone':
        this.reachable = true;
        this.replayable = false;
        this.rest(this.begun ? 'ended' : 'waiting');
        return;
      case 'failed':
        if (this.realtime && !this.begun) this.fallBack();
        else this.restart();
        return;
      case 'unplayable':
        this.rest('unplayable', event.reason);
        return;
      case 'refused':
        this.reachable = true;
        this.rest('refused', event.reason);
        // A refusal that was no text: the next question is answered with one.
        if (event.reason === '') this.scheduleProbe(0);
        return;
      case 'rungs':
        this.learn();
        break;
    }
    this.changed();
  }

  /** Real time does not work here, or not now: HLS does, and real time is tried again later. */
  private fallBack(): void {
    this.realtimeAt = now() + this.realtimeWaits.next() / 1000;
    this.engage();
  }

  /** A connection is tried beside what plays; it takes over with its first picture. */
  private climb(): void {
    if (this.trial || this.realtime || !this.wantsRealtime() || !this.begun || this.video.paused || now() < this.realtimeAt) return;
    const trial = new WhepEngine(null, this.whep, this.url, (event) => {
      if (this.trial !== trial) return;
      if (event.kind === 'window') this.takeOver(trial);
      else if (event.kind !== 'rungs') {
        trial.destroy();
        this.trial = null;
        this.realtimeAt = now() + this.realtimeWaits.next() / 1000;
      }
    });
    this.trial = trial;
  }

  private takeOver(trial: WhepEngine): void {
    this.trial = null;
    this.engage(trial);
  }

  /** What there is to choose from. An engine for sound alone knows of nothing else. */
  private learn(): void {
    if (this.soundAlone()) return;
    this.rungs = this.engine?.rungs ?? [];
    this.viewer = this.rungs[0]?.viewer || this.viewer;
    if (this.soundAlone()) this.engage();
  }

  /** Which of the many reasons it was that an engine failed, the next question to the server tells. */
  private restart(): void {
    if (now() - this.engineStartedAt > YOUNG) this.restarts.reset();
    this.lost = true;
    this.rest('waiting');
    this.scheduleProbe(this.restarts.next());
  }

  private moved(span: Window, epoch: string | null): void {
    if (epoch !== null && this.epoch !== null && epoch !== this.epoch && !this.replaying) {
      this.engage();
      return;
    }
    this.epoch = epoch ?? this.epoch;
    if (!span.live && this.window === null && !this.replaying) {
      // Over before it began here: nothing starts by itself, but it can be watched.
      this.replayable = true;
      this.rest('ended');
      return;
    }
    this.window = span;
    this.reachable = true;
    this.waits.reset();
    if (span.live) this.edge.observe(now(), span.edge);
  }

  /** Watched to the end. */
  private over(): void {
    this.replayable = true;
    this.waits.reset();
    this.rest('ended');
  }

  private scheduleProbe(delayMs: number): void {
    clearTimeout(this.probeTimer);
    this.probeAt = now() + delayMs / 1000;
    this.probeTimer = window.setTimeout(() => void this.ask(), delayMs);
  }

  private async ask(): Promise<void> {
    const generation = this.generation;
    const answer = await probe(this.url);
    if (generation !== this.generation || this.phase === 'engaged') return;
    this.answered(answer);
  }

  private answered(answer: Answer): void {
    this.lost = false;
    this.reachable = answer.kind !== 'unreachable';
    this.soon = answer.kind === 'soon';
    this.replayable = answer.kind === 'over';
    // What cannot be decoded is not tried again before another show takes its place.
    const hopeless = this.phase === 'unplayable' && answer.kind === 'live';
    if (answer.kind === 'live' && !hopeless) {
      this.engage();
      return;
    }
    if (answer.kind === 'refused') {
      this.phase = 'refused';
      this.reason = answer.reason;
      this.scheduleProbe(REFUSED_MS);
      this.changed();
      return;
    }
    if (this.phase === 'refused') this.phase = 'waiting';
    if (this.phase === 'unplayable' && (answer.kind === 'off' || answer.kind === 'over')) this.phase = 'waiting';
    if (answer.kind === 'over' && this.phase === 'waiting') this.phase = 'ended';
    const own = this.waits.next();
    const asked = answer.kind === 'soon' && answer.retryAfter !== null ? answer.retryAfter * 1000 : 0;
    // A starting show is worth a quick second look; a server's wish is kept, within bounds.
    this.scheduleProbe(this.soon ? Math.min(Math.max(asked, 500), 10_000) : own);
    this.changed();
  }

  // --- the video element ---------------------------------------------------------------------------------------------

  private listen(): void {
    const on = (type: string, heard: () => void) => this.video.addEventListener(type, heard);
    on('playing', () => {
      this.begun = true;
      this.recovered();
      this.changed();
    });
    on('loadedmetadata', () => {
      if (this.wanted && this.video.paused) this.startVideo();
    });
    on('waiting', () => this.stalled());
    on('pause', () => {
      this.stalls.end(now());
      this.changed();
    });
    on('ended', () => {
      if (this.phase === 'engaged') this.over();
    });
    on('volumechange', () => this.changed());
    on('resize', () => this.changed());
    window.addEventListener('online', () => this.hurry());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.hurry();
    });
  }

  /** The network or the viewer is back: ask at once instead of at the end of a long wait. */
  private hurry(): void {
    if (this.phase === 'engaged') return;
    this.waits.reset();
    this.scheduleProbe(0);
  }

  private stalled(): void {
    if (!this.begun || this.video.seeking || this.video.paused || this.phase !== 'engaged') return;
    // The end of an ended show is no stall.
    if (this.window && !this.window.live && this.window.edge - this.video.currentTime < END_NEAR) return;
    if (this.stalls.begin(now())) {
      this.silence = 0;
      this.stoppedDry = this.forward() < DRY;
      this.stoppedBehind = (this.latency() ?? 0) - (this.target() ?? 0);
      if (this.stoppedDry) this.engine?.starved();
    }
    this.changed();
  }

  /** The picture moves again. A stall teaches to keep more distance, if distance is what was missing. */
  private recovered(): void {
    if (this.stalls.active && this.stoppedDry && this.silence < SILENCE) this.controller.stalled(now(), this.stoppedBehind);
    this.stalls.end(now());
  }

  private startVideo(): void {
    this.video.play().catch((error: unknown) => {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      // Without sound every browser lets a page start by itself; with sound most do not.
      if (!this.video.muted) {
        this.video.muted = true;
        this.startVideo();
        return;
      }
      this.wanted = false;
      this.changed();
    });
  }

  // --- the live edge -------------------------------------------------------------------------------------------------

  private tick(): void {
    if (this.phase === 'engaged') {
      this.climb();
      this.frozen();
      this.steer();
      this.watch();
    }
    this.changed();
  }

  /** In real time no event tells that the picture stands. */
  private frozen(): void {
    if (!(this.engine instanceof WhepEngine) || !this.begun || this.video.paused) return;
    if (!this.engine.frozen) this.stalls.end(now());
    else if (this.stalls.begin(now())) this.silence = 0;
  }

  /** A picture that stands although there is something to play: whatever the reason, a new engine is the cure. */
  private watch(): void {
    const span = this.window;
    if (this.stalls.active) this.silence = Math.max(this.silence, this.edge.age(now()));
    // Not every browser says `ended` when sound and picture end a frame apart.
    const over = this.begun && span !== null && !span.live && span.edge - this.video.currentTime < END_NEAR;
    const stands = this.wanted && (!this.begun || this.stalls.active || over);
    const fed = span !== null && (span.live ? this.edge.age(now()) < SILENCE : true);
    if (!stands || !fed) {
      this.stuckSince = null;
      return;
    }
    this.stuckSince ??= now();
    if (now() - this.stuckSince < (over ? END_WAIT : STUCK)) return;
    if (span.live) this.restart();
    else this.over();
  }

  private steer(): void {
    const span = this.window;
    const latency = this.latency();
    if (!span?.live || latency === null || !this.begun || this.video.seeking || this.engine instanceof NativeEngine || this.realtime) return;
    if (!this.following || this.video.paused) {
      if (this.video.playbackRate !== 1) this.video.playbackRate = 1;
      return;
    }
    const live = this.livePosition();
    if (this.settle(latency - this.controller.target(span.holdBack), live)) return;
    const advice = this.controller.advise({
      now: now(),
      latency,
      forward: this.forward(),
      holdBack: span.holdBack,
      stalled: this.stalls.active,
      targetBuffered: live !== null && this.buffered(live),
    });
    if (advice.rejoin) this.jumpToLive();
    else if (this.stalls.active) this.resume(live, span.holdBack);
    if (this.video.playbackRate !== advice.rate) this.video.playbackRate = advice.rate;
  }

  /** Starts a standing picture by a seek once there is enough to play. */
  private resume(live: number | null, holdBack: number): void {
    if (this.forward() < this.controller.enough(holdBack) || now() - this.resumedAt < RESUME_PAUSE) return;
    this.resumedAt = now();
    const { currentTime } = this.video;
    this.video.currentTime = live !== null && live > currentTime && this.buffered(live) ? live : currentTime + 0.001;
  }

  /** The first picture is older than it has to be by the time it took to load: one jump, before anybody is used to it. */
  private settle(behind: number, live: number | null): boolean {
    if (this.settled) return false;
    const jump = behind > SETTLE_BEHIND && live !== null && this.buffered(live);
    if (jump) this.jumpToLive();
    this.settled = jump || now() - this.engineStartedAt > SETTLE_WITHIN;
    return jump;
  }

  private jumpToLive(): void {
    const live = this.livePosition();
    if (live !== null) this.video.currentTime = live;
  }

  private livePosition(): number | null {
    if (this.realtime) return null;
    const span = this.window;
    const edge = span && this.edge.at(now(), span.part);
    if (!span || edge === null) return null;
    return Math.max(span.start, Math.min(edge - this.controller.target(span.holdBack), span.edge - span.part));
  }

  private latency(): number | null {
    if (this.engine instanceof WhepEngine) return this.engine.latency;
    const edge = this.window && this.edge.at(now(), this.window.part * 2);
    if (edge === null || !this.begun) return null;
    return Math.max(0, edge - this.video.currentTime);
  }

  private target(): number | null {
    if (this.realtime) return null;
    return this.window?.live ? this.controller.target(this.window.holdBack) : null;
  }

  private forward(): number {
    if (this.engine instanceof WhepEngine) return this.engine.frozen ? 0 : 1;
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  private buffered(time: number): boolean {
    const { buffered } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= time && time + 0.2 < buffered.end(i)) return true;
    }
    return false;
  }

  private changed(): void {
    const snapshot = this.snapshot();
    for (const listener of this.listeners) listener(snapshot);
  }
}

function now(): number {
  return performance.now() / 1000;
}

const TICK_MS = 100;
/** The rung that is sent as it came. */
const SOURCE = 'source';
/** Seconds that whoever wants to be safe keeps beyond what the playlist asks for. */
const SAFETY = 4;
/** Behind the target by more than this after a pause means: the viewer wants to go on where they were. */
const SHORT_PAUSE = 1;
/** A seek takes a moment to show its effect. Seconds. */
const RESUME_PAUSE = 1.5;
/** With less than this ahead a picture that stops has run out of data. Seconds. */
const DRY = 0.25;
/** Less than this is left to the playback rate; and so is everything that comes later than SETTLE_WITHIN. Seconds. */
const SETTLE_BEHIND = 0.3;
const SETTLE_WITHIN = 6;
/** Seeking to within this of the live position means: go live. */
const NEAR_LIVE = 1;
/** Standing still for so long beside a growing playlist, with data or without, is no stall any more. Seconds. */
const STUCK = 20;
/** So near to the end of an ended show, for so long, the show is over. Seconds. */
const END_NEAR = 0.6;
const END_WAIT = 1.5;
/** An engine that failed sooner than this after its start is not started again at once. Seconds. */
const YOUNG = 10;
/** Who is not let in, or no more, is seldom let in a moment later. */
const REFUSED_MS = 60_000;
