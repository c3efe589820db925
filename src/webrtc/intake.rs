//! The media of one publisher: which track a packet belongs to, what to ask the publisher for, and its frames. Sans-IO;
//! a publishing session feeds it opened RTP and RTCP, pushes its frames into the hub, and sends its RTCP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::counter;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::sender_report::SenderReport;

use super::arrivals::Arrivals;
use super::control;
use super::header::Packet;
use super::track::{self, Track};
use crate::media::{Codec, Config, Frame, Kind};
use crate::metrics as names;

/// What was agreed on for one media section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) mid: String,
    /// Payload types and their codecs.
    pub(super) codecs: Vec<(u8, Codec)>,
    /// Payload types of repairs, each with the one it repairs.
    pub(super) repairs: Vec<(u8, u8)>,
    /// The publisher takes requests to send again.
    pub(super) nack: bool,
    /// SSRCs that the offer named, with those of their repairs.
    pub(super) sources: Vec<(u32, Option<u32>)>,
    /// Simulcast layers, as the publisher names them; empty for one stream.
    pub(super) layers: Vec<String>,
    /// Numbers of the header extensions: mid, rid, repaired rid, transport-wide.
    pub(super) extensions: [Option<u8>; 4],
}

/// The media of a publisher.
#[derive(Debug)]
pub(super) struct Intake {
    sections: Vec<Section>,
    streams: Vec<Stream>,
    arrivals: Arrivals,
    epoch: Instant,
    ours: u32,
    /// How long a repair takes from the request to its arrival.
    round_trip: Duration,
    asked_at: Option<Instant>,
    key: KeyRequests,
    /// Pictures come without a key frame for this long, and it has been said.
    pub(super) ended: bool,
}

#[derive(Debug)]
struct Stream {
    track: Track,
    section: usize,
    /// Index into the section's layers.
    layer: usize,
    repair: Option<u32>,
}

/// When key frames are asked for.
#[derive(Debug)]
struct KeyRequests {
    /// At least so often where nobody asks: segments begin with key frames.
    interval: Duration,
    asked: Option<Instant>,
    /// Requests since the last key frame.
    unanswered: u32,
    wanted: bool,
    number: u8,
}

/// A frame, and the place of the layer it belongs to.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) layer: usize,
    pub(super) frame: Frame,
}

impl Intake {
    /// For these sections; `ours`: the SSRC of our reports; `interval`: how far apart key frames may be.
    pub(super) fn new(sections: Vec<Section>, ours: u32, interval: Duration, now: Instant) -> Intake {
        let key = KeyRequests { interval, asked: None, unanswered: 0, wanted: false, number: 0 };
        Intake {
            sections,
            streams: Vec::new(),
            arrivals: Arrivals::new(now),
            epoch: now,
            ours,
            round_trip: FIRST_ROUND_TRIP,
            asked_at: None,
            key,
            ended: false,
        }
    }

    /// Takes an RTP packet.
    pub(super) fn rtp(&mut self, packet: &Bytes, now: Instant) {
        let Some(packet) = Packet::read(packet) else { return };
        if let Some(number) = self.sections.iter().find_map(|section| section.extensions[3])
            && let Some(&[high, low]) = packet.extension(number)
        {
            self.arrivals.push(u16::from_be_bytes([high, low]), now);
        }
        let Some((at, repair)) = self.find(&packet) else { return };
        let (stream, sections) = (&mut self.streams[at], &self.sections);
        let section = &sections[stream.section];
        let packet = if repair { original(packet, section) } else { Some(packet) };
        let Some(packet) = packet else { return };
        let codec = section.codecs.iter().find(|(number, _)| *number == packet.payload_type);
        let Some((_, codec)) = codec else { return };
        stream.track.change(*codec);
        let before = stream.track.counts().repaired;
        stream.track.push(packet, repair, self.epoch, now);
        if stream.track.counts().repaired > before {
            counter!(names::WEBRTC_PACKETS_REPAIRED, "role" => "publisher").increment(1);
            if let Some(asked) = self.asked_at.take() {
                let took = now.saturating_duration_since(asked);
                self.round_trip = (self.round_trip * 7 + took) / 8;
            }
        }
    }

    /// Takes RTCP packets.
    pub(super) fn rtcp(&mut self, mut packets: Bytes, now: Instant) {
        let Ok(packets) = rtc_rtcp::packet::unmarshal(&mut packets) else { return };
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.track.ssrc == report.ssrc) {
                    stream.track.reported(report.ntp_time, report.rtp_time, now);
                }
                self.align();
            } else if let Some(goodbye) = packet.as_any().downcast_ref::<Goodbye>() {
                let gone = |stream: &Stream| goodbye.sources.contains(&stream.track.ssrc);
                self.ended |= !self.streams.is_empty() && self.streams.iter().all(gone);
            }
        }
    }

    /// The next frame that is whole.
    pub(super) fn frame(&mut self, now: Instant) -> Option<Came> {
        for stream in &mut self.streams {
            if let Some(frame) = stream.track.frame(self.epoch, now) {
                if frame.key && frame.kind() == Kind::Video {
                    (self.key.unanswered, self.key.wanted) = (0, false);
                }
                return Some(Came { layer: stream.layer, frame });
            }
        }
        None
    }

    /// Pictures were agreed on.
    pub(super) fn expects_pictures(&self) -> bool {
        self.sections.iter().any(|section| section.codecs.iter().any(|(_, codec)| codec.kind() == Kind::Video))
    }

    /// How the sound will be that was agreed on.
    pub(super) fn expected_sound(&self) -> Option<Arc<Config>> {
        let opus = |section: &Section| section.codecs.iter().any(|(_, codec)| *codec == Codec::Opus);
        self.sections.iter().any(opus).then(track::opus_config).flatten()
    }

    /// A viewer needs a key frame.
    pub(super) fn want_key(&mut self) {
        self.key.wanted = true;
    }

    /// RTCP that is due at short notice: requests to send again, and for key frames.
    pub(super) fn urgent(&mut self, now: Instant, out: &mut Vec<u8>) {
        for stream in &mut self.streams {
            let section = &self.sections[stream.section];
            if section.nack && stream.track.is_waiting() {
                let wanted = stream.track.wanted(self.round_trip, now);
                if !wanted.is_empty() {
                    self.asked_at.get_or_insert(now);
                    counter!(names::WEBRTC_PACKETS_ASKED, "role" => "publisher").increment(wanted.len() as u64);
                    control::missing(self.ours, stream.track.ssrc, &wanted, out);
                }
            }
        }
        self.ask_for_key(now, out);
    }

    /// Feedback on arrivals, ten times a second or more.
    pub(super) fn feedback(&mut self) -> Option<Vec<u8>> {
        let media = self.streams.first()?.track.ssrc;
        self.arrivals.feedback(self.ours, media)
    }

    /// A receiver report, once a second.
    pub(super) fn report(&mut self, now: Instant, out: &mut Vec<u8>) {
        let blocks: Vec<_> = self.streams.iter_mut().filter_map(|stream| stream.track.block(now)).collect();
        control::receiver_report(self.ours, &blocks, out);
    }

    /// Something is missing or awaited, so that time must be told every few milliseconds.
    pub(super) fn is_waiting(&self) -> bool {
        self.streams.iter().any(|stream| stream.track.is_waiting())
    }

    /// The tracks, and the layer of each.
    pub(super) fn tracks(&self) -> impl Iterator<Item = (&Track, usize)> {
        self.streams.iter().map(|stream| (&stream.track, stream.layer))
    }

    /// The names of the simulcast layers; none of a publisher that sends one stream of pictures.
    pub(super) fn layers(&self) -> &[String] {
        self.sections
            .iter()
            .map(|section| section.layers.as_slice())
            .find(|layers| !layers.is_empty())
            .unwrap_or_default()
    }

    /// Key frames that were asked for since the last one came.
    pub(super) fn unanswered(&self) -> u32 {
        self.key.unanswered
    }

    /// The layer with the largest pictures that come; of equal ones the first.
    pub(super) fn best_layer(&self, now: Instant) -> Option<usize> {
        let fresh = |stream: &&Stream| {
            let key = stream.track.last_key;
            stream.track.kind == Kind::Video && key.is_some() && !stream.track.is_stale(now)
        };
        self.streams
            .iter()
            .filter(fresh)
            .max_by_key(|stream| (stream.track.pixels, std::cmp::Reverse(stream.layer)))
            .map(|stream| stream.layer)
    }

    /// The stream of a packet, and whether the packet is a repair. New streams are taken up as they come.
    fn find(&mut self, packet: &Packet) -> Option<(usize, bool)> {
        for (at, stream) in self.streams.iter().enumerate() {
            if stream.track.ssrc == packet.ssrc {
                return Some((at, false));
            }
            if stream.repair == Some(packet.ssrc) {
                return Some((at, true));
            }
        }
        let section = self.section_of(packet)?;
        let repairs = self.sections[section].repairs.iter().any(|(number, _)| *number == packet.payload_type);
        if repairs { self.adopt_repair(packet, section).map(|at| (at, true)) } else { self.begin(packet, section) }
    }

    fn section_of(&self, packet: &Packet) -> Option<usize> {
        let named = |section: &Section| {
            section.sources.iter().any(|(ssrc, repair)| *ssrc == packet.ssrc || *repair == Some(packet.ssrc))
        };
        let by_mid = |section: &Section| {
            let mid = section.extensions[0].and_then(|number| packet.extension(number));
            mid.is_some_and(|mid| mid == section.mid.as_bytes())
        };
        let by_payload = |section: &Section| {
            section.codecs.iter().any(|(number, _)| *number == packet.payload_type)
                || section.repairs.iter().any(|(number, _)| *number == packet.payload_type)
        };
        let find = |wanted: &dyn Fn(&Section) -> bool| self.sections.iter().position(wanted);
        find(&named).or_else(|| find(&by_mid)).or_else(|| find(&by_payload))
    }

    fn layer_of(&self, packet: &Packet, section: usize, extension: usize) -> Option<usize> {
        let section = &self.sections[section];
        let rid = section.extensions[extension].and_then(|number| packet.extension(number))?;
        section.layers.iter().position(|layer| layer.as_bytes() == rid)
    }

    fn begin(&mut self, packet: &Packet, section: usize) -> Option<(usize, bool)> {
        let layers = self.sections[section].layers.len();
        let layer = match layers {
            0 => 0,
            _ => self.layer_of(packet, section, 1)?,
        };
        let known = &self.sections[section];
        let (_, codec) = *known.codecs.iter().find(|(number, _)| *number == packet.payload_type)?;
        let repair = known.sources.iter().find(|(ssrc, _)| *ssrc == packet.ssrc).and_then(|(_, repair)| *repair);
        let stream = Stream { track: Track::new(codec, packet.ssrc, known.nack), section, layer, repair };
        // A publisher that begins anew under another SSRC takes the place of what it sent before.
        let before = self.streams.iter().position(|each| each.section == section && each.layer == layer);
        let at = match before {
            Some(at) => {
                self.streams[at] = stream;
                at
            }
            None => {
                self.streams.push(stream);
                self.streams.len() - 1
            }
        };
        if codec.kind() == Kind::Video {
            self.key.wanted = true;
        }
        self.align();
        Some((at, false))
    }

    fn adopt_repair(&mut self, packet: &Packet, section: usize) -> Option<usize> {
        let layer = match self.sections[section].layers.len() {
            0 => 0,
            _ => self.layer_of(packet, section, 2)?,
        };
        let at = self.streams.iter().position(|each| each.section == section && each.layer == layer)?;
        self.streams[at].repair = Some(packet.ssrc);
        Some(at)
    }

    /// All follow the first track of sound: ears notice a step sooner than eyes, and sound has no frames to hide it between.
    /// Without sound the layers of the pictures follow the first of them.
    fn align(&mut self) {
        let sound = self.streams.iter().position(|stream| stream.track.kind == Kind::Audio);
        let leader = sound.unwrap_or(0);
        let (before, rest) = self.streams.split_at_mut(leader);
        let Some((leader, after)) = rest.split_first_mut() else { return };
        for stream in before.iter_mut().chain(after) {
            stream.track.clock.follow(&leader.track.clock);
        }
    }

    fn ask_for_key(&mut self, now: Instant, out: &mut Vec<u8>) {
        let pictures =
            || self.streams.iter().filter(|stream| stream.track.kind == Kind::Video && !stream.track.is_stale(now));
        if pictures().next().is_none() {
            return;
        }
        let interval = self.key.interval;
        let old =
            |stream: &Stream| stream.track.last_key.is_none_or(|key| now.saturating_duration_since(key) >= interval);
        let needed = self.key.wanted || pictures().any(|stream| stream.track.needs_key || old(stream));
        // Who does not listen is not shouted at.
        let spacing = if self.key.unanswered < DEAF { KEY_SPACING } else { KEY_SPACING_DEAF };
        let due = self.key.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= spacing);
        if !needed || !due {
            return;
        }
        self.key.number = self.key.number.wrapping_add(1);
        for stream in pictures() {
            // Some encoders listen to the one, some to the other.
            if self.key.unanswered.is_multiple_of(2) {
                control::picture_loss(self.ours, stream.track.ssrc, out);
            } else {
                control::full_intra(self.ours, stream.track.ssrc, self.key.number, out);
            }
        }
        counter!(names::WEBRTC_KEY_FRAMES_ASKED, "role" => "publisher").increment(1);
        self.key.asked = Some(now);
        self.key.unanswered += 1;
        self.key.wanted = false;
    }
}

/// The packet that a repair holds, RFC 4588 section 4: its number stands before its payload.
fn original(mut repair: Packet, section: &Section) -> Option<Packet> {
    let number = repair.payload.get(..2).map(|number| u16::from_be_bytes([number[0], number[1]]))?;
    let (_, payload_type) = section.repairs.iter().find(|(number, _)| *number == repair.payload_type)?;
    repair.sequence = number;
    repair.payload_type = *payload_type;
    repair.payload = repair.payload.slice(2..);
    Some(repair)
}

/// Key frames are not asked for more often than this.
const KEY_SPACING: Duration = Duration::from_millis(500);
/// So many requests without an answer are a publisher that does not listen, as OBS does not.
const DEAF: u32 = 4;
const KEY_SPACING_DEAF: Duration = Duration::from_secs(5);
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(60);

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
