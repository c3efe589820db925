//! What the server and a worker process say to each other over a Unix socket: a length, a kind, a body. Sans-IO: bytes in,
//! messages out. Both ends are the same program, so there are no versions; a body that cannot be read ends the worker.
//!
//! ```text
//! message = length (u32, of what follows) kind (u8) body
//! ```
//!
//! Times are flicks on the stream's timeline ([`Time`]), numbers big-endian, everything else JSON.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::media::loudness::Level;
use crate::media::{AudioConfig, Codec, Config, Kind, Loudness, Time, VideoConfig};

/// Number of a rung within its ladder, as both ends count them.
pub type RungId = u32;

/// From the server to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Comes once, first.
    Setup(Setup),
    /// The configuration of the source's frames that follow, of the track that it configures.
    Config(Config),
    /// One access unit of the source.
    Frame(SourceFrame),
    /// The rungs that are wanted from now on; one that is not listed stops.
    Rungs(Vec<Order>),
    /// Make a still picture of one key frame, with the configuration it is decoded with.
    Still(StillOrder),
    /// Measure how loud some sound is.
    Listen(ListenOrder),
}

/// From a worker to the server.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The configuration of a rung's frames that follow.
    Config(RungId, Config),
    /// One access unit of a rung; decoding and presentation time are the same.
    Frame(RungFrame),
    /// How it goes; comes four times a second whatever else happens, so that silence means a hanging worker.
    Beat(Beat),
    /// Something failed.
    Trouble(Trouble),
    /// The answer to [`ToWorker::Still`]; no picture if the frame could not be decoded.
    Still(Still),
    /// The answer to [`ToWorker::Listen`].
    Heard(Heard),
}

/// What holds for a worker's whole life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// For logs: the stream's name.
    pub stream: String,
    /// GStreamer names of H.264 encoders, the best first; a rung whose encoder fails goes on with the next.
    pub encoders: Vec<String>,
    /// x264's speed preset.
    pub preset: String,
    /// Added to the process's niceness.
    pub nice: i32,
}

/// One rung as the worker is to make it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub rung: RungId,
    /// What to make.
    pub make: Make,
    /// Only frames that are shown later than this (flicks): what is before, viewers have already.
    pub after: i64,
}

/// What a rung consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Make {
    /// H.264 pictures.
    Pictures {
        /// In pixels, even. The source is fitted into it, with black borders where the shapes differ.
        width: u32,
        /// In pixels, even.
        height: u32,
        /// At most so many pictures a second.
        frame_rate: Option<f64>,
        /// Pictures a second that are expected to come out.
        nominal: f64,
        /// Bits a second, also the highest over [`VBV_MILLIS`].
        bitrate: u64,
        /// H.264 level times ten: 31 is 3.1.
        level: u8,
    },
    /// AAC-LC or Opus sound, two channels of 48 kHz.
    Sound {
        /// Opus instead of AAC.
        opus: bool,
        /// Bits a second.
        bitrate: u64,
    },
}

/// One access unit of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceFrame {
    /// Its track.
    pub kind: Kind,
    /// Decoding time.
    pub dts: Time,
    /// Presentation time.
    pub pts: Time,
    /// A decoder can start here.
    pub key: bool,
    /// A segment starts with the first picture that is shown at this time or later.
    pub cut: Option<SourceCut>,
    /// As [`crate::media::Frame::payload`].
    pub payload: Bytes,
}

/// Where a segment starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceCut {
    /// Presentation time.
    pub at: Time,
    /// What follows does not continue what was before.
    pub discontinuity: bool,
}

/// One access unit of a rung.
#[derive(Clone, Debug, PartialEq)]
pub struct RungFrame {
    /// The rung's number.
    pub rung: RungId,
    /// Presentation time: exactly that of the source's picture it was made from. Sound: priming is accounted for.
    pub pts: Time,
    /// An IDR with which a decoder can start; any frame of sound.
    pub key: bool,
    /// As [`crate::media::Frame::payload`].
    pub payload: Bytes,
}

/// How a worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Source pictures decoded so far.
    pub decoded: u64,
    /// Source frames the decoder could make nothing of.
    pub corrupt: u64,
    /// Per rung that runs.
    pub rungs: Vec<RungBeat>,
}

/// How one rung is doing. Counts are since it was last started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RungBeat {
    /// Its number.
    pub rung: RungId,
    /// GStreamer name of its encoder.
    pub encoder: String,
    /// Pictures given out.
    pub frames: u64,
    /// Pictures that wait for the encoder.
    pub queue: u32,
    /// Pictures dropped because it could not follow.
    pub dropped: u64,
    /// Wall time spent scaling and encoding, in microseconds.
    pub busy_us: u64,
    /// Segment starts that did not become an IDR.
    pub misses: u64,
    /// Times its encoder failed and the next was taken.
    pub fallbacks: u64,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// None: the source cannot be decoded.
    pub rung: Option<RungId>,
    /// Nothing more will come of it.
    pub over: bool,
    /// In words.
    pub what: String,
}

/// A key frame to make a picture of.
#[derive(Clone, Debug, PartialEq)]
pub struct StillOrder {
    /// Given back with the answer.
    pub id: u64,
    /// Of a picture track.
    pub config: Config,
    /// The access unit.
    pub payload: Bytes,
    /// The picture is scaled down to at most this width.
    pub width: u32,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Still {
    /// Of the order.
    pub id: u64,
    /// JPEG; empty if there is none.
    pub jpeg: Bytes,
}

/// Sound to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenOrder {
    /// Given back with the answer.
    pub id: u64,
    /// Of a sound track.
    pub config: Config,
    /// Access units that follow each other.
    pub frames: Vec<Bytes>,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Of the order.
    pub id: u64,
    /// Or why it cannot be told.
    pub outcome: Result<Loudness, String>,
}

/// Pictures of a rung keep to their bit rate over this long, in milliseconds.
pub const VBV_MILLIS: u32 = 1_000;

/// The longest message in bytes: an 8K key frame has a tenth of this.
pub const LONGEST: usize = 64 << 20;

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message between server and worker cannot be read: {0}")]
pub struct Garbled(String);

impl ToWorker {
    /// Appends the message; the payload of a frame is copied.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            ToWorker::Setup(setup) => framed(out, b's', |out| json(out, setup)),
            ToWorker::Config(config) => framed(out, b'c', |out| put_config(out, config)),
            ToWorker::Frame(frame) => framed(out, b'f', |out| frame.write(out)),
            ToWorker::Rungs(orders) => framed(out, b'r', |out| json(out, orders)),
            ToWorker::Still(order) => framed(out, b't', |out| {
                out.put_u64(order.id);
                out.put_u32(order.width);
                put_config(out, &order.config);
                out.put_slice(&order.payload);
            }),
            ToWorker::Listen(order) => framed(out, b'l', |out| {
                out.put_u64(order.id);
                put_config(out, &order.config);
                order.frames.iter().for_each(|frame| put_bytes(out, frame));
            }),
        }
    }

    /// Takes the first whole message out of `input`; None if there is none yet.
    pub fn read(input: &mut BytesMut) -> Result<Option<ToWorker>, Garbled> {
        let Some((kind, mut body)) = split(input)? else { return Ok(None) };
        Ok(Some(match kind {
            b's' => ToWorker::Setup(from_json(&body)?),
            b'c' => ToWorker::Config(get_config(&mut body)?),
            b'f' => ToWorker::Frame(SourceFrame::read(body)?),
            b'r' => ToWorker::Rungs(from_json(&body)?),
            b't' => {
                let (id, width) = (body.try_get_u64().map_err(short)?, body.try_get_u32().map_err(short)?);
                ToWorker::Still(StillOrder { id, width, config: get_config(&mut body)?, payload: body })
            }
            b'l' => {
                let (id, config) = (body.try_get_u64().map_err(short)?, get_config(&mut body)?);
                let mut frames = Vec::new();
                while !body.is_empty() {
                    frames.push(get_bytes(&mut body)?);
                }
                ToWorker::Listen(ListenOrder { id, config, frames })
            }
            other => return Err(unknown(other)),
        }))
    }
}

impl FromWorker {
    /// Appends the message; the payload of a frame is copied.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            FromWorker::Config(rung, config) => framed(out, b'C', |out| {
                out.put_u32(*rung);
                put_config(out, config);
            }),
            FromWorker::Frame(frame) => framed(out, b'F', |out| {
                out.put_u32(frame.rung);
                out.put_i64(frame.pts.flicks());
                out.put_u8(u8::from(frame.key));
                out.put_slice(&frame.payload);
            }),
            FromWorker::Beat(beat) => framed(out, b'B', |out| json(out, beat)),
            FromWorker::Trouble(trouble) => framed(out, b'X', |out| json(out, trouble)),
            FromWorker::Still(still) => framed(out, b'T', |out| {
                out.put_u64(still.id);
                out.put_slice(&still.jpeg);
            }),
            FromWorker::Heard(heard) => framed(out, b'H', |out| heard.write(out)),
        }
    }

    /// Takes the first whole message out of `input`; None if there is none yet.
    pub fn read(input: &mut BytesMut) -> Result<Option<FromWorker>, Garbled> {
        let Some((kind, mut body)) = split(input)? else { return Ok(None) };
        Ok(Some(match kind {
            b'C' => FromWorker::Config(body.try_get_u32().map_err(short)?, get_config(&mut body)?),
            b'F' => {
                let rung = body.try_get_u32().map_err(short)?;
                let pts = Time::from_flicks(body.try_get_i64().map_err(short)?);
                let key = body.try_get_u8().map_err(short)? != 0;
                FromWorker::Frame(RungFrame { rung, pts, key, payload: body })
            }
            b'B' => FromWorker::Beat(from_json(&body)?),
            b'X' => FromWorker::Trouble(from_json(&body)?),
            b'T' => FromWorker::Still(Still { id: body.try_get_u64().map_err(short)?, jpeg: body }),
            b'H' => FromWorker::Heard(Heard::read(body)?),
            other => return Err(unknown(other)),
        }))
    }
}

impl SourceFrame {
    fn write(&self, out: &mut BytesMut) {
        let flags = [
            (self.kind == Kind::Audio, AUDIO),
            (self.key, KEY),
            (self.cut.is_some(), CUT),
            (self.cut.is_some_and(|cut| cut.discontinuity), BREAK),
        ];
        out.put_u8(flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag));
        out.put_i64(self.dts.flicks());
        out.put_i64(self.pts.flicks());
        out.put_i64(self.cut.map_or(0, |cut| cut.at.flicks()));
        out.put_slice(&self.payload);
    }

    fn read(mut body: Bytes) -> Result<SourceFrame, Garbled> {
        let flags = body.try_get_u8().map_err(short)?;
        let mut time = || body.try_get_i64().map(Time::from_flicks).map_err(short);
        let (dts, pts, at) = (time()?, time()?, time()?);
        let has = |flag: u8| flags & flag != 0;
        Ok(SourceFrame {
            kind: if has(AUDIO) { Kind::Audio } else { Kind::Video },
            dts,
            pts,
            key: has(KEY),
            cut: has(CUT).then_some(SourceCut { at, discontinuity: has(BREAK) }),
            payload: body,
        })
    }
}

impl Heard {
    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.id);
        out.put_u8(u8::from(self.outcome.is_ok()));
        match &self.outcome {
            Ok(loudness) => loudness.channels.iter().for_each(|level| {
                [level.peak, level.rms, level.clipped, level.offset].into_iter().for_each(|value| out.put_f64(value));
            }),
            Err(why) => out.put_slice(why.as_bytes()),
        }
    }

    fn read(mut body: Bytes) -> Result<Heard, Garbled> {
        let (id, told) = (body.try_get_u64().map_err(short)?, body.try_get_u8().map_err(short)? != 0);
        if !told {
            return Ok(Heard { id, outcome: Err(String::from_utf8_lossy(&body).into_owned()) });
        }
        let mut channels = Vec::new();
        while !body.is_empty() {
            let mut value = || body.try_get_f64().map_err(short);
            channels.push(Level { peak: value()?, rms: value()?, clipped: value()?, offset: value()? });
        }
        Ok(Heard { id, outcome: Ok(Loudness { channels }) })
    }
}

const AUDIO: u8 = 1;
const KEY: u8 = 2;
const CUT: u8 = 4;
const BREAK: u8 = 8;

/// Codecs in the order of their numbers on the wire.
const CODECS: [Codec; 7] = [Codec::H264, Codec::H265, Codec::Av1, Codec::Aac, Codec::Opus, Codec::Vp8, Codec::Vp9];

fn put_config(out: &mut BytesMut, config: &Config) {
    let number = CODECS.iter().position(|codec| *codec == config.codec()).unwrap_or_default();
    out.put_u8(number as u8);
    let (numbers, record) = match config {
        Config::Video(video) => ([video.width, video.height, 0], &video.record),
        Config::Audio(audio) => ([audio.sample_rate, audio.channels, audio.frame_samples.unwrap_or(0)], &audio.record),
    };
    numbers.into_iter().for_each(|number| out.put_u32(number));
    put_bytes(out, config.codecs().as_bytes());
    put_bytes(out, record);
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

fn get_bytes(body: &mut Bytes) -> Result<Bytes, Garbled> {
    let length = body.try_get_u32().map_err(short)? as usize;
    if length > body.len() {
        return Err(Garbled("it ends early".to_owned()));
    }
    Ok(body.split_to(length))
}

fn get_config(body: &mut Bytes) -> Result<Config, Garbled> {
    let number = body.try_get_u8().map_err(short)?;
    let codec = *CODECS.get(usize::from(number)).ok_or_else(|| unknown(number))?;
    let mut numbers = [0; 3];
    for number in &mut numbers {
        *number = body.try_get_u32().map_err(short)?;
    }
    let codecs = String::from_utf8_lossy(&get_bytes(body)?).into_owned();
    let record = get_bytes(body)?;
    let [first, second, third] = numbers;
    Ok(match codec.kind() {
        Kind::Video => Config::Video(VideoConfig { codec, record, width: first, height: second, codecs }),
        Kind::Audio => Config::Audio(AudioConfig {
            codec,
            record,
            sample_rate: first,
            channels: second,
            frame_samples: (third > 0).then_some(third),
            codecs,
        }),
    })
}

fn framed(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    body(out);
    let length = (out.len() - start - LENGTH) as u32;
    if let Some(field) = out.get_mut(start..start + LENGTH) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// The kind and the body of the first whole message.
fn split(input: &mut BytesMut) -> Result<Option<(u8, Bytes)>, Garbled> {
    let Some(mut head) = input.get(..LENGTH) else { return Ok(None) };
    let length = head.get_u32() as usize;
    if length == 0 || length > LONGEST {
        return Err(Garbled(format!("{length} bytes long")));
    }
    if input.len() < LENGTH + length {
        input.reserve(LENGTH + length - input.len());
        return Ok(None);
    }
    input.advance(LENGTH);
    let mut body = input.split_to(length).freeze();
    let kind = body.get_u8();
    Ok(Some((kind, body)))
}

const LENGTH: usize = 4;

fn json(out: &mut BytesMut, value: &impl Serialize) {
    // Plain structs into memory: cannot fail.
    let _ = serde_json::to_writer(out.writer(), value);
}

fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Garbled> {
    serde_json::from_slice(body).map_err(|error| Garbled(error.to_string()))
}

fn short(_: bytes::TryGetError) -> Garbled {
    Garbled("it ends early".to_owned())
}

fn unknown(kind: u8) -> Garbled {
    Garbled(format!("kind {kind} is not known"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn video() -> Config {
        Config::Video(VideoConfig {
            codec: Codec::H264,
            record: Bytes::from_static(&[1, 2, 3]),
            width: 1280,
            height: 720,
            codecs: "avc1.4d401f".into(),
        })
    }

    fn audio() -> Config {
        Config::Audio(AudioConfig {
            codec: Codec::Aac,
            record: Bytes::from_static(&[0x11, 0x90]),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: Some(1_024),
            codecs: "mp4a.40.2".into(),
        })
    }

    fn frame() -> SourceFrame {
        SourceFrame {
            kind: Kind::Video,
            dts: Time::from_millis(-5),
            pts: Time::from_millis(40),
            key: true,
            cut: Some(SourceCut { at: Time::from_millis(40), discontinuity: true }),
            payload: Bytes::from_static(b"unit"),
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let make = Make::Pictures {
            width: 640,
            height: 360,
            frame_rate: Some(29.97),
            nominal: 29.97,
            bitrate: 800_000,
            level: 30,
        };
        let said = [
            ToWorker::Setup(Setup {
                stream: "show".into(),
                encoders: vec!["x264enc".into()],
                preset: "fast".into(),
                nice: 5,
            }),
            ToWorker::Config(video()),
            ToWorker::Frame(frame()),
            ToWorker::Rungs(vec![Order { rung: 1, make, after: i64::MIN }]),
            ToWorker::Still(StillOrder { id: 7, config: video(), payload: Bytes::from_static(b"x"), width: 320 }),
            ToWorker::Listen(ListenOrder {
                id: 8,
                config: audio(),
                frames: vec![Bytes::from_static(b"a"), Bytes::new()],
            }),
        ];
        let mut wire = BytesMut::new();
        said.iter().for_each(|message| message.write(&mut wire));
        for message in said {
            assert_eq!(ToWorker::read(&mut wire).unwrap(), Some(message));
        }
        assert_eq!(ToWorker::read(&mut wire).unwrap(), None);
    }

    #[test]
    fn what_is_answered_is_understood_in_pieces() {
        let level = Level { peak: 1.0, rms: 0.5, clipped: 0.25, offset: -0.125 };
        let beat = Beat { decoded: 3, rungs: vec![RungBeat { rung: 2, ..RungBeat::default() }], ..Beat::default() };
        let said = [
            FromWorker::Config(2, video()),
            FromWorker::Frame(RungFrame { rung: 2, pts: Time::MAX, key: false, payload: Bytes::from_static(b"p") }),
            FromWorker::Beat(beat),
            FromWorker::Trouble(Trouble { rung: None, over: true, what: "no decoder".into() }),
            FromWorker::Still(Still { id: 9, jpeg: Bytes::from_static(b"jpeg") }),
            FromWorker::Heard(Heard { id: 10, outcome: Ok(Loudness { channels: vec![level, Level::default()] }) }),
            FromWorker::Heard(Heard { id: 11, outcome: Err("no decoder".into()) }),
        ];
        let mut wire = BytesMut::new();
        said.iter().for_each(|message| message.write(&mut wire));
        let (mut come, mut heard) = (BytesMut::new(), Vec::new());
        for byte in wire {
            come.put_u8(byte);
            heard.extend(FromWorker::read(&mut come).unwrap());
        }
        assert_eq!(heard, said);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
            let mut whole = BytesMut::new();
            framed(&mut whole, kind, |out| out.put_slice(&bytes));
            let _ = ToWorker::read(&mut whole.clone());
            let _ = FromWorker::read(&mut whole);
            let _ = ToWorker::read(&mut BytesMut::from(&bytes[..]));
        }
    }
}
