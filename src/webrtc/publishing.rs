//! One publishing session's media: opened packets in, frames into the hub, and what the publisher is told. Driven by
//! `worker`; takes its stream's name when media can flow and not before, so that an offer alone takes nothing from anybody.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::intake::{Came, Intake};
use super::snapshot::Snapshot;
use crate::access::StreamName;
use crate::hub::{Hub, Publisher, Source};
use crate::media::Kind;

/// The session.
#[derive(Debug)]
pub(super) struct Publishing {
    hub: Hub,
    name: StreamName,
    source: Source,
    trial: bool,
    intake: Intake,
    publisher: Option<Publisher>,
    /// Layer that is published, and since when a better one was seen to be there.
    layer: usize,
    began: Option<Instant>,
    wanted: u64,
    feedback: Instant,
    /// Since when pictures come that cannot be shown for want of a key frame.
    keyless: Option<Instant>,
    complained: bool,
    /// A picture has come.
    shown: bool,
    rate: Rate,
}

#[derive(Debug)]
struct Rate {
    bytes: u64,
    at: Instant,
    bits: f64,
}

impl Publishing {
    /// Will publish under this name, unless it is a trial.
    pub(super) fn new(
        hub: Hub,
        (name, source, trial): (StreamName, Source, bool),
        intake: Intake,
        now: Instant,
    ) -> Publishing {
        Publishing {
            hub,
            name,
            source,
            trial,
            intake,
            publisher: None,
            layer: 0,
            began: None,
            wanted: 0,
            feedback: now,
            keyless: None,
            complained: false,
            shown: false,
            rate: Rate { bytes: 0, at: now, bits: 0.0 },
        }
    }

    /// Media can flow: takes the name.
    pub(super) fn connected(&mut self, now: Instant) -> Result<(), String> {
        if self.publisher.is_none() && !self.trial {
            let mut publisher = self.hub.publish(&self.name, self.source.clone()).map_err(|error| error.to_string())?;
            self.wanted = publisher.keys_wanted();
            publisher.expect_layers(self.intake.layers());
            (self.publisher, self.began) = (Some(publisher), Some(now));
            // What came before was not for anybody.
            self.intake.want_key();
        }
        Ok(())
    }

    /// Takes an RTP packet; pushes what comes whole of it.
    pub(super) fn rtp(&mut self, packet: &Bytes, now: Instant) -> Result<(), String> {
        self.intake.rtp(packet, now);
        self.push(now)
    }

    /// Takes RTCP packets.
    pub(super) fn rtcp(&mut self, packets: Bytes, now: Instant) -> Result<(), String> {
        self.intake.rtcp(packets, now);
        if self.intake.ended { Err("the publisher said goodbye".to_owned()) } else { Ok(()) }
    }

    /// Every few milliseconds: gives up what is overdue, asks again for what is missing. RTCP to send goes to `out`.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> Result<(), String> {
        self.push(now)?;
        if let Some(publisher) = &self.publisher {
            if let Some(ended) = publisher.has_ended() {
                return Err(if self.complained { NO_KEY.to_owned() } else { ended.to_string() });
            }
            let wanted = publisher.keys_wanted();
            if std::mem::replace(&mut self.wanted, wanted) != wanted {
                self.intake.want_key();
            }
        }
        let mut urgent = Vec::new();
        self.intake.urgent(now, &mut urgent);
        if now.saturating_duration_since(self.feedback) >= FEEDBACK {
            self.feedback = now;
            out.extend(self.intake.feedback());
        }
        if !urgent.is_empty() {
            out.push(urgent);
        }
        Ok(())
    }

    /// Once a second: the report, and whether the publisher keeps to what it must.
    pub(super) fn report(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        let mut report = Vec::new();
        self.intake.report(now, &mut report);
        out.push(report);
        let bytes: u64 = self.intake.tracks().map(|(track, _)| track.tally.bytes).sum();
        let seconds = now.saturating_duration_since(self.rate.at).as_secs_f64();
        if seconds > 0.0 {
            let bits = bytes.saturating_sub(self.rate.bytes) as f64 * 8.0 / seconds;
            self.rate = Rate { bytes, at: now, bits };
        }
        self.look_for_keys(now);
    }

    /// Pictures that come without a key frame keep the name for a while, since the next one may be 10 s away, and are
    /// complained of.
    fn look_for_keys(&mut self, now: Instant) {
        let pictures = || self.intake.tracks().filter(|(track, _)| track.kind == Kind::Video && !track.is_stale(now));
        let keyless = pictures().next().is_some() && pictures().all(|(track, _)| track.needs_key);
        let Some(publisher) = self.publisher.as_ref().filter(|_| keyless) else {
            (self.keyless, self.complained) = (None, false);
            return;
        };
        let waited = now.saturating_duration_since(*self.keyless.get_or_insert(now));
        if waited < MOST_KEYLESS {
            publisher.keep();
        }
        if waited >= KEYLESS && !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(stream = %self.name, "{NO_KEY}");
        }
    }

    /// The publisher said goodbye.
    pub(super) fn finish(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.finish();
        }
    }

    /// Something is missing or awaited, so that time must be told every few milliseconds.
    pub(super) fn is_waiting(&self) -> bool {
        self.intake.is_waiting()
    }

    /// How it goes, for the operator and the publisher's page.
    pub(super) fn snapshot(&self, shot: &mut Snapshot) {
        shot.bitrate = self.rate.bits;
        shot.trouble = self.complained.then(|| NO_KEY.to_owned());
        (shot.packets, shot.lost, shot.repaired, shot.frames, shot.damaged) = (0, 0, 0, 0, 0);
        shot.jitter_ms = 0.0;
        for (track, _) in self.intake.tracks() {
            let counts = track.counts();
            shot.packets += counts.received;
            shot.lost += counts.lost;
            shot.repaired += counts.repaired;
            shot.damaged += track.tally.damaged + track.tally.malformed;
            shot.jitter_ms = shot.jitter_ms.max(track.jitter_ms());
            match track.kind {
                Kind::Video => {
                    shot.frames += track.tally.frames;
                    shot.video = Some(track.codec().name());
                }
                Kind::Audio => shot.audio = Some(track.codec().name()),
            }
        }
        shot.key_requests = self.intake.unanswered();
    }

    fn push(&mut self, now: Instant) -> Result<(), String> {
        while let Some(Came { layer, frame }) = self.intake.frame(now) {
            let Some(publisher) = &mut self.publisher else { continue };
            // Sound alone would begin a stream without pictures, which ends when the first picture comes.
            let hurried = self.began.is_none_or(|began| now.saturating_duration_since(began) < PICTURES);
            if frame.kind() == Kind::Audio && self.intake.expects_pictures() && !self.shown && hurried {
                continue;
            }
            if frame.kind() == Kind::Video
                && !std::mem::replace(&mut self.shown, true)
                && let Some(config) = self.intake.expected_sound()
            {
                publisher.announce(config);
            }
            let layered = frame.kind() == Kind::Video && !self.intake.layers().is_empty();
            if layered && layer != self.layer {
                // Another layer takes over where a decoder can start, once it is the best of those that come.
                let best = self.intake.best_layer(now);
                if !frame.key || best != Some(layer) {
                    publisher.push_layer(layer, false, frame);
                    continue;
                }
                self.layer = layer;
            }
            publisher.push(frame.clone()).map_err(|ended| ended.to_string())?;
            if layered {
                publisher.push_layer(layer, true, frame);
            }
        }
        Ok(())
    }
}

/// So long sound waits for pictures that were agreed on.
const PICTURES: Duration = Duration::from_secs(3);
/// How often a publisher is told what arrived.
const FEEDBACK: Duration = Duration::from_millis(50);
/// So long pictures may come without a key frame before somebody is told.
const KEYLESS: Duration = Duration::from_secs(8);
/// So long such pictures keep a name.
const MOST_KEYLESS: Duration = Duration::from_secs(30);
const NO_KEY: &str =
    "pictures come, but no key frame: nothing can be shown; set the encoder's keyframe interval to 2 s";
