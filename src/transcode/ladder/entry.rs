//! One rung of a ladder at work: its place on the timeline, what its worker says of it, and what it is to be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hub::{Rung, RungState};
use crate::media::{Cut, Frame, Kind, Time};
use crate::transcode::backlog::Backlog;
use crate::transcode::status::RungStatus;
use crate::transcode::tracks::{Generation, Track};
use crate::transcode::wire::{Make, Order, RungBeat, RungFrame, RungId};

use super::layered::{ALMOST, Layered};

/// A rung and what is known of it.
pub(super) struct Entry {
    pub(super) rung: Arc<Rung>,
    pub(super) track: Track,
    /// The publisher sends its pictures: no worker makes them.
    pub(super) layered: Option<Layered>,
    /// Only every other picture is made.
    pub(super) half: bool,
    /// Pictures a second of the source; 0 is unknown.
    source_rate: f64,
    started: Instant,
    /// Pictures given out since it began.
    given: u64,
    /// When its encoder, or the decoder before it, said that nothing will come.
    failed: Option<Instant>,
    /// The last beats, oldest first.
    beats: Vec<(Instant, RungBeat)>,
}

/// Beats that are kept: rates are over about two seconds.
const BEATS: usize = 9;
/// A rung this far behind its source cannot be followed at low latency.
const SLOW: Time = Time::from_millis(1_500);
/// Percent of pictures dropped from which an encoder cannot follow.
const DROPS: u64 = 5;
/// What failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);
/// An encoder that has just started has the backlog to work off.
const CATCH_UP: Duration = Duration::from_secs(6);

impl Entry {
    pub(super) fn new(rung: Arc<Rung>, layered: Option<Layered>, source_rate: f64) -> Entry {
        Entry {
            rung,
            layered,
            track: Track::default(),
            half: false,
            source_rate,
            started: Instant::now(),
            given: 0,
            failed: None,
            beats: Vec::new(),
        }
    }

    pub(super) fn has_pictures(&self) -> bool {
        self.rung.spec().pictures.is_some()
    }

    /// Its pictures are made by a worker.
    pub(super) fn is_made(&self) -> bool {
        self.has_pictures() && self.layered.is_none()
    }

    /// A worker has to make something of it.
    pub(super) fn needs_worker(&self) -> bool {
        self.is_made() || self.rung.spec().sound.as_ref().is_some_and(|sound| sound.transcoded)
    }

    /// Bits a second of the sound that must be made for it, in Opus or in AAC.
    pub(super) fn made_sound(&self, opus: bool) -> Option<u64> {
        let sound = self.rung.spec().sound.as_ref().filter(|sound| sound.transcoded)?;
        ((sound.codecs == "opus") == opus).then_some(sound.bitrate)
    }

    /// It is wanted from now on, with the segments that begin at these cuts.
    pub(super) fn begin(&mut self, cuts: &[Cut], backlog: &Backlog) {
        self.track.begin(cuts.iter().copied());
        self.beats.clear();
        self.started = Instant::now();
        self.rung.turn(RungState::Starting);
        self.layered.iter_mut().for_each(Layered::begin);
        for frame in backlog.frames().filter(|frame| frame.kind() == Kind::Audio) {
            self.take_sound(frame);
        }
    }

    /// It is not wanted any longer. True if it was.
    pub(super) fn stop(&mut self, state: RungState) -> bool {
        let begun = self.track.is_begun();
        self.track.stop();
        self.layered.iter_mut().for_each(Layered::stop);
        self.beats.clear();
        self.rung.turn(state);
        begun
    }

    /// Nothing will come of it for now.
    pub(super) fn fail(&mut self) {
        self.failed = Some(Instant::now());
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < RETRY)
    }

    /// The next frame of the source.
    pub(super) fn take(&mut self, frame: &Frame) {
        if let Some(cut) = frame.cut {
            self.track.cut(cut);
        }
        if frame.kind() == Kind::Audio {
            self.take_sound(frame);
        }
    }

    /// Takes what its layer has, up to what the source has shown. Why the layer cannot go on being this rung, if it cannot.
    pub(super) fn follow_layer(&mut self, newest: Time) -> Result<(), &'static str> {
        if !self.track.is_begun() {
            return Ok(());
        }
        while let Some((frame, config)) = self.layered.as_mut().and_then(|layered| layered.due(newest)) {
            if let Some(config) = config {
                self.track.configure(LAYER, (*config).clone());
            }
            let pts = if frame.key { self.track.near_cut(frame.pts, ALMOST) } else { frame.pts };
            let due = self.track.is_due(pts);
            let strays = self.layered.as_mut().map_or(0, |layered| layered.see(frame.key, due));
            if strays > MOST_STRAYS {
                return Err("its key frames do not come with the source's");
            }
            if due && !frame.key {
                // Nobody could begin the segment with it; the next key frame does.
                continue;
            }
            self.give(LAYER, RungFrame { rung: 0, pts, key: frame.key, payload: frame.payload });
        }
        let reached = self.track.last().or(self.track.begun_at()).unwrap_or(newest);
        if self.layered.is_some() && newest - reached > DRY { Err("it has stopped") } else { Ok(()) }
    }

    /// A frame of sound that a worker made for all.
    pub(super) fn take_made_sound(&mut self, opus: bool, frame: &Frame) {
        if self.made_sound(opus).is_some() {
            self.append_sound(frame);
        }
    }

    /// A picture from a worker. True if it went out.
    pub(super) fn give(&mut self, from: Generation, unit: RungFrame) -> bool {
        let Some(frame) = self.track.picture(from, unit) else { return false };
        self.given += 1;
        self.rung.push(frame);
        if self.rung.state() != RungState::Live {
            self.rung.turn(RungState::Live);
        }
        true
    }

    /// Of a layer nobody else counts the pictures.
    pub(super) fn beat_for_layer(&mut self) {
        if self.layered.is_some() {
            self.beat(RungBeat { frames: self.given, ..RungBeat::default() });
        }
    }

    /// Its worker says how it goes.
    pub(super) fn beat(&mut self, beat: RungBeat) {
        let anew = self.beats.last().is_some_and(|(_, last)| last.frames > beat.frames);
        if anew {
            self.beats.clear();
        }
        if self.beats.len() == BEATS {
            self.beats.remove(0);
        }
        self.beats.push((Instant::now(), beat));
    }

    /// The worker's order for it.
    pub(super) fn order(&self, rung: RungId) -> Option<Order> {
        let pictures = self.rung.spec().pictures.as_ref().filter(|_| self.layered.is_none())?;
        let source = if self.source_rate > 0.0 { self.source_rate } else { FULL };
        let rate = pictures.frame_rate.map_or(source, |cap| cap.min(source));
        let make = Make::Pictures {
            width: pictures.width,
            height: pictures.height,
            frame_rate: if self.half { Some(rate / 2.0) } else { pictures.frame_rate },
            nominal: if self.half { rate / 2.0 } else { rate },
            bitrate: pictures.bitrate,
            level: pictures.level,
        };
        Some(Order { rung, make, after: self.track.after().flicks() })
    }

    /// Pictures of the source up to `last` have not come out.
    pub(super) fn is_behind(&self, last: Time) -> bool {
        self.is_made() && self.track.is_begun() && self.track.last().is_some_and(|own| own < last)
    }

    /// It cannot follow its source, whose newest picture is at `newest`.
    pub(super) fn is_slow(&self, now: Instant, newest: Time) -> bool {
        if !self.is_made() || !self.track.is_begun() || now.saturating_duration_since(self.started) < CATCH_UP {
            return false;
        }
        let lags = self.track.last().is_none_or(|last| newest - last > SLOW);
        lags || self.dropping()
    }

    fn dropping(&self) -> bool {
        let (Some((_, first)), Some((_, last))) = (self.beats.first(), self.beats.last()) else { return false };
        let (dropped, made) = (last.dropped.saturating_sub(first.dropped), last.frames.saturating_sub(first.frames));
        dropped * 100 > (dropped + made) * DROPS
    }

    pub(super) fn status(&self, newest: Time) -> RungStatus {
        let spec = self.rung.spec();
        let last = self.beats.last().map(|(_, beat)| beat.clone()).unwrap_or_default();
        let (frames, busy, seconds) = match (self.beats.first(), self.beats.last()) {
            (Some((from, first)), Some((to, last))) => (
                last.frames.saturating_sub(first.frames),
                last.busy_us.saturating_sub(first.busy_us),
                to.saturating_duration_since(*from).as_secs_f64(),
            ),
            _ => (0, 0, 0.0),
        };
        RungStatus {
            name: spec.name.clone(),
            state: self.rung.state().name(),
            order: self.rung.order().name(),
            width: spec.pictures.as_ref().map_or(0, |pictures| pictures.width),
            height: spec.pictures.as_ref().map_or(0, |pictures| pictures.height),
            bitrate: spec.pictures.as_ref().map_or(0, |pictures| pictures.bitrate),
            encoder: match &self.layered {
                Some(layered) => format!("layer {} of the publisher", layered.layer().name()),
                None => last.encoder,
            },
            fps: if seconds > 0.0 { frames as f64 / seconds } else { 0.0 },
            encode_ms: if frames > 0 { busy as f64 / 1000.0 / frames as f64 } else { 0.0 },
            lag: self.track.last().map_or(0.0, |own| (newest - own).seconds().max(0.0)),
            queue: last.queue,
            dropped: last.dropped,
            misses: last.misses.max(self.track.misses()),
            fallbacks: last.fallbacks,
        }
    }

    /// A frame of the source's own sound.
    fn take_sound(&mut self, frame: &Frame) {
        if self.rung.spec().sound.as_ref().is_some_and(|sound| !sound.transcoded) {
            self.append_sound(frame);
        }
    }

    fn append_sound(&mut self, frame: &Frame) {
        let leads = !self.has_pictures();
        let Some(frame) = self.track.sound(frame, leads) else { return };
        self.rung.push(frame);
        if leads {
            self.rung.turn(RungState::Live);
        }
    }
}

/// Segments in a row that a layer may have no key frame for: when the source goes over to a better layer, and when one was lost.
const MOST_STRAYS: u32 = 2;
/// Stands for a layer where a worker's number is expected: any worker takes over from it.
const LAYER: Generation = 0;
/// So far behind its source a layer has stopped, or never begins.
const DRY: Time = Time::from_millis(3_000);
/// Pictures a second of a source that showed too few to tell.
const FULL: f64 = 30.0;

/// The order for the sound that is made anew.
pub(super) fn sound_order(rung: RungId, opus: bool, bitrate: u64, after: Time) -> Order {
    Order { rung, make: Make::Sound { opus, bitrate }, after: after.flicks() }
}
