//! One stream of a publisher: sound, or one layer of its pictures. Packets in any order go in, frames in the session's time
//! come out. Sans-IO; `intake` finds the track of each packet and asks for repairs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::clock::Clock;
use super::clock_rate;
use super::control::Block;
use super::header::Packet;
use super::reorder::{Next, Reorder};
use super::unpack::{Unpack, Unpacked, Useless};
use crate::media::{Codec, Config, Frame, Kind, Time, codec};

/// The track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: Kind,
    pub(super) ssrc: u32,
    codec: Codec,
    rate: u32,
    reorder: Reorder,
    pub(super) clock: Clock,
    unpack: Unpack,
    /// Of sound: made with the first packet.
    sound: Option<Arc<Config>>,
    /// The payloads of the frame that is not whole yet, and its timestamp.
    open: Vec<Bytes>,
    open_bytes: usize,
    stamp: Option<(u32, Instant)>,
    /// Part of the open frame is lost.
    torn: bool,
    /// Pictures refer to some that were lost: nothing is shown until the next key frame.
    pub(super) needs_key: bool,
    pub(super) last_key: Option<Instant>,
    /// Of its last picture.
    pub(super) pixels: u64,
    pub(super) tally: Tally,
    heard: Option<Instant>,
    report: Option<(u32, Instant)>,
    told: (i64, u64),
    jitter: Jitter,
}

/// What became of a track's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Left out, because a part of them or of what they refer to was lost.
    pub(super) damaged: u64,
    /// Made no frame though nothing was lost.
    pub(super) malformed: u64,
}

/// Interarrival jitter in ticks, RFC 3550 section A.8.
#[derive(Debug, Default)]
struct Jitter {
    transit: Option<i64>,
    sixteenths: i64,
}

impl Track {
    /// Of `codec`, under `ssrc`. `repairs`: the publisher sends again what is asked for.
    pub(super) fn new(codec: Codec, ssrc: u32, repairs: bool) -> Track {
        let kind = codec.kind();
        let rate = clock_rate(kind);
        Track {
            kind,
            ssrc,
            codec,
            rate,
            reorder: Reorder::new(if repairs { PATIENCE } else { PATIENCE_WITHOUT_REPAIRS }),
            clock: Clock::new(rate),
            unpack: Unpack::new(codec),
            sound: None,
            open: Vec::new(),
            open_bytes: 0,
            stamp: None,
            torn: false,
            needs_key: kind == Kind::Video,
            last_key: None,
            pixels: 0,
            tally: Tally::default(),
            heard: None,
            report: None,
            told: (0, 0),
            jitter: Jitter::default(),
        }
    }

    /// The codec its packets have.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Other packets than before: the publisher changed the codec under way.
    pub(super) fn change(&mut self, codec: Codec) {
        if codec.kind() == self.kind && codec != self.codec {
            (self.codec, self.unpack) = (codec, Unpack::new(codec));
            self.drop_open();
            self.needs_key = self.kind == Kind::Video;
        }
    }

    /// Takes a packet; `repair`: it was asked for.
    pub(super) fn push(&mut self, packet: Packet, repair: bool, epoch: Instant, now: Instant) {
        if !repair {
            self.jitter.arrived(packet.timestamp, now.saturating_duration_since(epoch), self.rate);
        }
        if !packet.payload.is_empty() {
            self.heard = Some(now);
        }
        self.reorder.push(packet, repair, now);
    }

    /// The next frame that is whole.
    pub(super) fn frame(&mut self, epoch: Instant, now: Instant) -> Option<Frame> {
        loop {
            match self.reorder.pop(now)? {
                Next::Gap => self.lose(),
                Next::Packet(packet) => {
                    let frame = match self.kind {
                        Kind::Audio => self.sound(packet, epoch, now),
                        Kind::Video => self.picture(packet, epoch, now),
                    };
                    if frame.is_some() {
                        return frame;
                    }
                }
            }
        }
    }

    /// Sequence numbers to ask for again.
    pub(super) fn wanted(&mut self, round_trip: Duration, now: Instant) -> Vec<u16> {
        self.reorder.wanted(round_trip, now)
    }

    /// Something is missing, and time alone can bring it out.
    pub(super) fn is_waiting(&self) -> bool {
        self.reorder.is_waiting()
    }

    /// What happened to its packets.
    pub(super) fn counts(&self) -> super::reorder::Counts {
        self.reorder.counts
    }

    /// Nothing came of it for so long that it is over or paused.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > STALE)
    }

    /// Interarrival jitter in milliseconds.
    pub(super) fn jitter_ms(&self) -> f64 {
        (self.jitter.sixteenths / 16) as f64 * 1000.0 / f64::from(self.rate)
    }

    /// A sender report came.
    pub(super) fn reported(&mut self, ntp: u64, timestamp: u32, now: Instant) {
        self.report = Some(((ntp >> 16) as u32, now));
        self.clock.report(ntp, timestamp);
    }

    /// Its part of a receiver report; None before its first packet.
    pub(super) fn block(&mut self, now: Instant) -> Option<Block> {
        let counts = self.reorder.counts;
        let highest = self.reorder.highest;
        if counts.received == 0 {
            return None;
        }
        let (before, received) = std::mem::replace(&mut self.told, (highest, counts.received));
        let expected = if before == 0 { 0 } else { (highest - before).max(0) as u64 };
        let lost = expected.saturating_sub(counts.received - received);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8;
        let (last_report, delay) = self.report.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_secs_f64() * 65_536.0;
            (ntp, delay as u32)
        });
        Some(Block {
            ssrc: self.ssrc,
            fraction,
            lost: counts.lost as u32,
            highest: highest as u32,
            jitter: (self.jitter.sixteenths / 16) as u32,
            last_report,
            delay,
        })
    }

    fn sound(&mut self, packet: Packet, epoch: Instant, now: Instant) -> Option<Frame> {
        if packet.payload.is_empty() {
            return None;
        }
        let config = match &self.sound {
            Some(config) => config.clone(),
            None => self.sound.insert(opus_config()?).clone(),
        };
        let arrival = Time::from_duration(now.saturating_duration_since(epoch));
        let pts = self.clock.time(packet.timestamp, arrival);
        // The packet's allocation is the datagram it came in, which is about its size.
        let payload = packet.payload;
        self.tally.frames += 1;
        self.tally.bytes += payload.len() as u64;
        Some(Frame { dts: pts, pts, key: true, cut: None, config, payload })
    }

    fn picture(&mut self, packet: Packet, epoch: Instant, now: Instant) -> Option<Frame> {
        let mut done = None;
        if self.stamp.is_some_and(|(stamp, _)| stamp != packet.timestamp) && !self.open.is_empty() {
            // The end of the frame before was not marked; some senders never do.
            done = self.close(epoch);
        }
        if packet.payload.is_empty() {
            return done;
        }
        self.stamp = Some((packet.timestamp, now));
        self.open_bytes += packet.payload.len();
        if self.open_bytes <= LARGEST_FRAME && self.open.len() < MOST_PACKETS {
            self.open.push(packet.payload);
        } else {
            self.torn = true;
        }
        if packet.marker && done.is_none() {
            done = self.close(epoch);
        }
        done
    }

    /// The open frame is whole.
    fn close(&mut self, epoch: Instant) -> Option<Frame> {
        let payloads = std::mem::take(&mut self.open);
        let torn = std::mem::take(&mut self.torn);
        self.open_bytes = 0;
        let (stamp, came) = self.stamp.take()?;
        if torn {
            self.tally.damaged += 1;
            self.needs_key = true;
            return None;
        }
        let Unpacked { config, key, payload } = match self.unpack.frame(&payloads) {
            Ok(unpacked) => unpacked,
            Err(useless) => {
                if useless != Useless::NoKey {
                    self.tally.malformed += 1;
                    self.needs_key = true;
                }
                return None;
            }
        };
        if self.needs_key && !key {
            self.tally.damaged += 1;
            return None;
        }
        if key {
            (self.needs_key, self.last_key) = (false, Some(came));
            if let Config::Video(video) = &*config {
                self.pixels = u64::from(video.width) * u64::from(video.height);
            }
        }
        let arrival = Time::from_duration(came.saturating_duration_since(epoch));
        let pts = self.clock.time(stamp, arrival);
        self.tally.frames += 1;
        self.tally.bytes += payload.len() as u64;
        Some(Frame { dts: pts, pts, key, cut: None, config, payload })
    }

    /// Packets are gone: the open frame is torn, and what follows refers to what nobody has.
    fn lose(&mut self) {
        if self.kind == Kind::Video {
            self.torn |= self.stamp.is_some();
            self.needs_key = true;
        }
    }

    fn drop_open(&mut self) {
        self.open.clear();
        (self.open_bytes, self.torn, self.stamp) = (0, false, None);
    }
}

impl Jitter {
    fn arrived(&mut self, timestamp: u32, since: Duration, rate: u32) {
        let arrival = (since.as_micros() as i64 * i64::from(rate)) / 1_000_000;
        let transit = i64::from((arrival as u32).wrapping_sub(timestamp) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit - before).abs();
            // A wrap, or another clock.
            if change < 10 * i64::from(rate) {
                self.sixteenths += change - (self.sixteenths + 8) / 16;
            }
        }
    }
}

/// What a decoder must know of the sound of any publisher.
pub(super) fn opus_config() -> Option<Arc<Config>> {
    codec::opus(&Bytes::from_static(OPUS_HEAD)).ok().map(Arc::new)
}

/// How long a repair may take: several round trips of a bad link. Viewers wait as long, once.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long packets may overtake each other where nothing is sent again.
const PATIENCE_WITHOUT_REPAIRS: Duration = Duration::from_millis(60);
/// Browsers pause the layers that their link does not carry.
const STALE: Duration = Duration::from_secs(2);
/// In bytes.
const LARGEST_FRAME: usize = 8 << 20;
/// Packets of a frame: half of [`LARGEST_FRAME`] in packets as small as any encoder's.
const MOST_PACKETS: usize = 16_384;
/// Two channels at 48 kHz without pre-skip, which RTP does not tell of: RFC 7845 section 5.1.
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00";
