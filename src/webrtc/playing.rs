//! One playing session's media: what its viewer is sent, and what its viewer says of it. Driven by `worker`, which has the
//! lanes. Sans-IO.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use metrics::counter;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::batch::Batch;
use super::choice::{Advice, Choice};
use super::control;
use super::estimate::Estimate;
use super::lane::Lane;
use super::snapshot::Snapshot;
use super::srtp::Srtp;
use super::viewer::{FeedId, Line, Outlet};
use crate::access::StreamName;
use crate::media::{Codec, Kind};
use crate::metrics as names;

/// What was agreed on for one kind of media.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) codec: Codec,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    /// SSRC and payload type of repairs.
    pub(super) repair: Option<(u32, u8)>,
    /// The number of the transport-wide extension.
    pub(super) transport_wide: Option<u8>,
    /// The first sequence number.
    pub(super) first: u16,
}

/// The session.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) name: StreamName,
    pub(super) video: Option<Sent>,
    pub(super) audio: Option<Sent>,
    estimate: Estimate,
    choice: Choice,
    /// Bits a second that are sent beyond what plays, until the next look.
    pub(super) probing: f64,
    /// The one rendition that this viewer wants.
    pub(super) pinned: Option<String>,
    /// A rendition that will be gone over to once its packets come, and since when.
    pub(super) heading: Option<(FeedId, Instant)>,
    refreshed: Option<Instant>,
    /// When the viewer was last sent from a feed, or began to wait for one.
    pub(super) waits_since: Option<Instant>,
    round_trip: Option<Duration>,
    refilled: Instant,
    tally: Tally,
}

/// One kind of media on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) agreed: Agreed,
    pub(super) outlet: Outlet,
    loss: u8,
    lost: u32,
    jitter: u32,
}

#[derive(Debug)]
struct Tally {
    octets: u64,
    at: Instant,
    bits: f64,
}

/// What a viewer's reports lead to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// It cannot go on without a key frame.
    KeyFrame,
    /// It said goodbye.
    End,
}

impl Playing {
    /// Of the stream `name`, as agreed.
    pub(super) fn new(
        name: StreamName,
        (video, audio): (Option<Agreed>, Option<Agreed>),
        pinned: Option<String>,
        now: Instant,
    ) -> Playing {
        let sent = |agreed: Agreed| {
            let Agreed { ssrc, payload_type, repair, first, .. } = agreed;
            Sent { agreed, outlet: Outlet::new(ssrc, payload_type, repair, first), loss: 0, lost: 0, jitter: 0 }
        };
        Playing {
            name,
            video: video.map(sent),
            audio: audio.map(sent),
            estimate: Estimate::new(),
            choice: Choice::new(),
            probing: 0.0,
            pinned,
            heading: None,
            refreshed: None,
            waits_since: Some(now),
            round_trip: None,
            refilled: now,
            tally: Tally { octets: 0, at: now, bits: 0.0 },
        }
    }

    /// Both kinds.
    pub(super) fn sent(&mut self) -> impl Iterator<Item = &mut Sent> {
        self.video.iter_mut().chain(&mut self.audio)
    }

    /// One kind.
    pub(super) fn of(&mut self, kind: Kind) -> Option<&mut Sent> {
        match kind {
            Kind::Video => self.video.as_mut(),
            Kind::Audio => self.audio.as_mut(),
        }
    }

    /// Sends what there is of one kind; says whether there is more than may be sent at once.
    pub(super) fn send<'l>(
        &mut self,
        kind: Kind,
        lanes: impl Fn(FeedId) -> Option<&'l Lane> + Copy,
        (srtp, batch): (&mut Srtp, &mut Batch),
        (budget, now): (usize, Instant),
    ) -> bool {
        let Playing { video, audio, estimate, .. } = self;
        let Some(sent) = (if kind == Kind::Video { video } else { audio }) else { return false };
        let transport_wide = sent.agreed.transport_wide.map(|number| (number, estimate));
        let mut line = Line { srtp, batch, transport_wide, now };
        sent.outlet.send(lanes, &mut line, budget);
        sent.outlet.feed().and_then(lanes).is_some_and(|lane| sent.outlet.is_behind(lane))
    }

    /// While the link is tried: sends some of the last pictures once more.
    pub(super) fn pad<'l>(
        &mut self,
        lanes: impl Fn(FeedId) -> Option<&'l Lane>,
        (srtp, batch): (&mut Srtp, &mut Batch),
        bytes: usize,
        now: Instant,
    ) {
        let Playing { video: Some(sent), estimate, .. } = self else { return };
        let transport_wide = sent.agreed.transport_wide.map(|number| (number, estimate));
        sent.outlet.pad(lanes, &mut Line { srtp, batch, transport_wide, now }, bytes);
    }

    /// What to do about the rendition. `rates`: bits a second of all, the best first.
    pub(super) fn advise(&mut self, now: Instant, rates: &[f64], current: usize) -> Advice {
        self.probing = 0.0;
        let Some(estimate) = self.estimate.bits() else { return Advice::Stay };
        let advice = self.choice.look(now, estimate, rates, current);
        if let Advice::Probe(bits) = advice {
            self.probing = bits;
        }
        advice
    }

    /// The best rendition that the link is known to carry, else the least. `rates` as above.
    pub(super) fn fitting(&self, rates: &[f64]) -> usize {
        let estimate = self.estimate.bits().unwrap_or(0.0);
        rates.iter().position(|rate| *rate <= estimate).unwrap_or(rates.len().saturating_sub(1))
    }

    /// Takes what the viewer says.
    pub(super) fn rtcp<'l>(
        &mut self,
        mut packets: Bytes,
        lanes: impl Fn(FeedId, Kind) -> Option<&'l Lane>,
        (srtp, batch): (&mut Srtp, &mut Batch),
        now: Instant,
    ) -> Wish {
        let Ok(packets) = rtc_rtcp::packet::unmarshal(&mut packets) else { return Wish::Nothing };
        let mut wish = Wish::Nothing;
        for packet in packets.iter().map(|packet| packet.as_any()) {
            if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                let asked: usize = nack.nacks.iter().map(|pair| pair.packet_list().len()).sum();
                counter!(names::WEBRTC_PACKETS_ASKED, "role" => "viewer").increment(asked as u64);
                let Playing { video, audio, estimate, .. } = self;
                let kinds = [(Kind::Video, video), (Kind::Audio, audio)];
                for (kind, sent) in kinds {
                    let Some(sent) = sent.as_mut().filter(|sent| sent.outlet.ssrc == nack.media_ssrc) else { continue };
                    let transport_wide = sent.agreed.transport_wide.map(|number| (number, &mut *estimate));
                    let mut line = Line { srtp: &mut *srtp, batch: &mut *batch, transport_wide, now };
                    let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list());
                    let before = sent.outlet.repaired;
                    sent.outlet.again(sequences, |feed| lanes(feed, kind), &mut line);
                    counter!(names::WEBRTC_PACKETS_REPAIRED, "role" => "viewer")
                        .increment(sent.outlet.repaired - before);
                }
            } else if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                counter!(names::WEBRTC_KEY_FRAMES_ASKED, "role" => "viewer").increment(1);
                wish = Wish::KeyFrame;
            } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                self.estimate.feedback(feedback, now);
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                self.reported(report);
            } else if packet.is::<Goodbye>() {
                return Wish::End;
            }
        }
        // A viewer that asks all the time is helped as often as one that asks once.
        let due = self.refreshed.is_none_or(|then| now.saturating_duration_since(then) >= REFRESH);
        if wish == Wish::KeyFrame && !due {
            return Wish::Nothing;
        }
        if wish == Wish::KeyFrame {
            self.refreshed = Some(now);
        }
        wish
    }

    /// Once a second: what was sent, and at which time of the wall clock.
    pub(super) fn report(&mut self, now: Instant, wall: SystemTime) -> Vec<u8> {
        let ntp = control::ntp(wall);
        let mut out = Vec::new();
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        let carried = self.estimate.bits();
        let mut octets = 0;
        for sent in self.video.iter_mut().chain(&mut self.audio) {
            let stamp = super::wall_stamp(wall, sent.agreed.codec.kind());
            let outlet = &mut sent.outlet;
            outlet.refill(seconds, carried);
            octets += u64::from(outlet.octets);
            if outlet.packets > 0 {
                control::sender_report(outlet.ssrc, ntp, stamp, outlet.packets, outlet.octets, &mut out);
                control::description(outlet.ssrc, "headwater", &mut out);
            }
        }
        let passed = now.saturating_duration_since(self.tally.at).as_secs_f64();
        if passed > 0.0 {
            let bits = octets.saturating_sub(self.tally.octets) as f64 * 8.0 / passed;
            self.tally = Tally { octets, at: now, bits };
        }
        out
    }

    /// A stream that is over for so long does not come back to this session. `gone`: nobody has its name.
    pub(super) fn patience(&self, now: Instant, gone: bool) -> Result<(), String> {
        let patience = if gone { FAREWELL } else { PATIENCE };
        match self.waits_since {
            Some(since) if now.saturating_duration_since(since) > patience => Err("the stream is over".to_owned()),
            _ => Ok(()),
        }
    }

    /// How it goes.
    pub(super) fn snapshot(&self, shot: &mut Snapshot) {
        shot.bitrate = self.tally.bits;
        shot.estimate = self.estimate.bits();
        shot.round_trip_ms = self.round_trip.map(|trip| trip.as_secs_f64() * 1000.0);
        let both = || self.video.iter().chain(&self.audio);
        shot.packets = both().map(|sent| u64::from(sent.outlet.packets)).sum();
        shot.repaired = both().map(|sent| sent.outlet.repaired).sum();
        shot.lost = both().map(|sent| u64::from(sent.lost)).sum();
        let jitter =
            |sent: &Sent| f64::from(sent.jitter) * 1000.0 / f64::from(super::clock_rate(sent.agreed.codec.kind()));
        shot.jitter_ms = both().map(jitter).fold(0.0, f64::max);
        shot.video = self.video.as_ref().map(|sent| sent.agreed.codec.name());
        shot.audio = self.audio.as_ref().map(|sent| sent.agreed.codec.name());
    }

    fn reported(&mut self, report: &ReceiverReport) {
        let now = (control::ntp(SystemTime::now()) >> 16) as u32;
        for block in &report.reports {
            let Some(sent) = self.video.iter_mut().chain(&mut self.audio).find(|sent| sent.outlet.ssrc == block.ssrc)
            else {
                continue;
            };
            (sent.loss, sent.lost, sent.jitter) = (block.fraction_lost, block.total_lost, block.jitter);
            if block.last_sender_report != 0 {
                let trip = now.wrapping_sub(block.last_sender_report).wrapping_sub(block.delay);
                if trip < 10 << 16 {
                    self.round_trip = Some(Duration::from_secs_f64(f64::from(trip) / 65_536.0));
                }
            }
        }
    }
}

/// A viewer whose stream has nothing for it waits for so long: through a publisher's reconnect, and the start of a rung.
const PATIENCE: Duration = Duration::from_secs(60);
/// A show that is over may begin anew at once.
const FAREWELL: Duration = Duration::from_secs(2);
/// A viewer's requests for key frames are answered this often at most.
const REFRESH: Duration = Duration::from_millis(500);
