//! A worker on a thread of this process, and the media that is fed to it: made by ffmpeg, one frame to a fragment, so that
//! each frame's bytes and times are easy to read.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use headwater::media::{Codec, Config, Kind, Time, codec};
use headwater::transcode::wire::{
    Beat, FromWorker, Make, Order, RungFrame, RungId, Setup, SourceCut, SourceFrame, Still, ToWorker, Trouble,
};
use headwater::transcode::{wire, worker};

/// What a worker said.
#[derive(Debug, Default)]
pub struct Heard {
    pub configs: Vec<(RungId, Config)>,
    pub frames: Vec<RungFrame>,
    pub troubles: Vec<Trouble>,
    pub stills: Vec<Still>,
    pub measured: Vec<wire::Heard>,
    pub beats: usize,
    pub last_beat: Beat,
}

impl Heard {
    /// The pictures of one rung, in the order in which they came.
    pub fn of(&self, rung: RungId) -> Vec<&RungFrame> {
        self.frames.iter().filter(|frame| frame.rung == rung).collect()
    }

    /// Their times.
    pub fn times(&self, rung: RungId) -> Vec<Time> {
        self.of(rung).iter().map(|frame| frame.pts).collect()
    }

    /// Times of those that a decoder can start at.
    pub fn keys(&self, rung: RungId) -> Vec<Time> {
        self.of(rung).iter().filter(|frame| frame.key).map(|frame| frame.pts).collect()
    }

    pub fn config(&self, rung: RungId) -> &Config {
        &self.configs.iter().find(|(of, _)| *of == rung).expect("a configuration comes first").1
    }
}

/// For all that a worker has to do in a test, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says all of this to a new worker, and listens until enough was heard.
pub fn tell(messages: Vec<ToWorker>, enough: impl Fn(&Heard) -> bool) -> Heard {
    tell_deaf(messages, Duration::ZERO, enough)
}

/// The same, but listens only after a time.
pub fn tell_deaf(messages: Vec<ToWorker>, deaf: Duration, enough: impl Fn(&Heard) -> bool) -> Heard {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || worker::serve(theirs));
    let mut speaking = ours.try_clone().unwrap();
    let speaker = std::thread::spawn(move || {
        let setup = Setup {
            stream: "test".into(),
            encoders: vec!["x264enc".into(), "openh264enc".into()],
            preset: "superfast".into(),
            nice: 0,
        };
        for message in std::iter::once(ToWorker::Setup(setup)).chain(messages) {
            let mut bytes = BytesMut::new();
            message.write(&mut bytes);
            // A worker that has ended shows in what was not heard.
            if speaking.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    // Time itself is what such a test is about.
    std::thread::park_timeout(deaf);
    let heard = listen(&ours, enough);
    ours.shutdown(std::net::Shutdown::Both).unwrap();
    speaker.join().unwrap();
    // The end of its input may come in the middle of a message.
    let _ = serving.join().expect("a worker never panics");
    heard
}

fn listen(mut socket: &UnixStream, enough: impl Fn(&Heard) -> bool) -> Heard {
    let (mut heard, mut input, mut chunk) = (Heard::default(), BytesMut::new(), vec![0; 65_536]);
    let deadline = Instant::now() + PATIENCE;
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    while !enough(&heard) {
        let (frames, decoded) = (heard.frames.len(), heard.last_beat.decoded);
        assert!(Instant::now() < deadline, "{frames} frames, {decoded} decoded, troubles {:?}", heard.troubles);
        match socket.read(&mut chunk) {
            Ok(0) => panic!("the worker has ended: {:?}", heard.troubles),
            Ok(length) => input.extend_from_slice(&chunk[..length]),
            Err(_) => continue,
        }
        while let Some(message) = FromWorker::read(&mut input).unwrap() {
            match message {
                FromWorker::Config(rung, config) => heard.configs.push((rung, config)),
                FromWorker::Frame(frame) => heard.frames.push(frame),
                FromWorker::Trouble(trouble) => heard.troubles.push(trouble),
                FromWorker::Still(still) => heard.stills.push(still),
                FromWorker::Heard(measured) => heard.measured.push(measured),
                FromWorker::Beat(beat) => {
                    heard.beats += 1;
                    heard.last_beat = beat;
                }
            }
        }
    }
    heard
}

/// A rung of pictures.
pub fn rung(number: RungId, (width, height): (u32, u32)) -> Order {
    let make = Make::Pictures { width, height, frame_rate: None, nominal: 30.0, bitrate: 300_000, level: 30 };
    Order { rung: number, make, after: i64::MIN }
}

/// One track of a source.
#[derive(Clone, Debug)]
pub struct Track {
    pub config: Config,
    pub frames: Vec<SourceFrame>,
}

impl Track {
    /// What is sent of it: the configuration, then the frames.
    pub fn messages(&self) -> Vec<ToWorker> {
        let frames = self.frames.iter().cloned().map(ToWorker::Frame);
        std::iter::once(ToWorker::Config(self.config.clone())).chain(frames).collect()
    }

    /// Times in the order in which they are shown.
    pub fn times(&self) -> Vec<Time> {
        let mut times: Vec<Time> = self.frames.iter().map(|frame| frame.pts).collect();
        times.sort_unstable();
        times
    }

    /// Where its segments begin.
    pub fn cuts(&self) -> Vec<Time> {
        self.frames.iter().filter_map(|frame| frame.cut).map(|cut| cut.at).collect()
    }

    /// Moved on the timeline.
    pub fn later(mut self, by: Time) -> Track {
        for frame in &mut self.frames {
            frame.dts += by;
            frame.pts += by;
            if let Some(cut) = &mut frame.cut {
                cut.at += by;
            }
        }
        self
    }

    pub fn end(&self) -> Time {
        self.frames.iter().map(|frame| frame.pts).max().unwrap() + Time::from_millis(40)
    }
}

/// Whether ffmpeg has this encoder.
pub fn has(encoder: &str) -> bool {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == encoder)
}

/// Lets ffmpeg make one track of this; a segment begins with the first key frame a second or more after the last one.
pub fn made(arguments: &[&str]) -> Track {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("source.mp4");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments)
        .args(["-movflags", "delay_moov+default_base_moof+frag_every_frame", "-video_track_timescale", "90000"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {arguments:?}");
    read(&file)
}

fn read(file: &Path) -> Track {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let (mut config, mut scale, mut frames, mut at) = (None, 90_000, Vec::new(), (0_i64, 0_i64));
    let mut last_cut: Option<Time> = None;
    for (kind, body) in boxes(&bytes) {
        match kind {
            b"moov" => {
                config = Some(configuration(&body));
                scale = field(&inner(&body, b"mdhd").unwrap(), 12);
            }
            b"moof" => at = times(&body),
            b"mdat" => {
                let config = config.as_ref().expect("moov comes first");
                let time = |ticks: i64| Time::from_ticks(ticks, scale);
                let (dts, pts) = (time(at.0), time(at.0 + at.1));
                let key = codec::is_random_access(config, &body);
                let cuts = key && last_cut.is_none_or(|last| pts - last >= Time::from_millis(1_000));
                let cut = cuts.then_some(SourceCut { at: pts, discontinuity: false });
                last_cut = if cuts { Some(pts) } else { last_cut };
                frames.push(SourceFrame { kind: config.kind(), dts, pts, key, cut, payload: body });
            }
            _ => {}
        }
    }
    // Decoding may begin before zero, which a timeline never does.
    let track = Track { config: config.unwrap(), frames };
    track.later(Time::from_millis(1_000))
}

/// Decoding time and composition offset of a fragment's only frame.
fn times(moof: &Bytes) -> (i64, i64) {
    let tfdt = inner(moof, b"tfdt").unwrap();
    let decoding = if tfdt[0] == 1 {
        i64::from(field(&tfdt, 4)) << 32 | i64::from(field(&tfdt, 8))
    } else {
        i64::from(field(&tfdt, 4))
    };
    let trun = inner(moof, b"trun").unwrap();
    let flags = field(&trun, 0) & 0xff_ffff;
    let mut offset = 8;
    for flag in [0x1, 0x4, 0x100, 0x200, 0x400] {
        offset += if flags & flag != 0 { 4 } else { 0 };
    }
    let composition = if flags & 0x800 != 0 { field(&trun, offset) as i32 } else { 0 };
    (decoding, i64::from(composition))
}

fn configuration(moov: &Bytes) -> Config {
    let record = |name: &[u8; 4]| inner(moov, name);
    if let Some(record) = record(b"avcC") {
        return codec::h264(&record).unwrap();
    }
    if let Some(record) = record(b"hvcC") {
        return codec::h265(&record).unwrap();
    }
    if let Some(record) = record(b"av1C") {
        return codec::av1(&record).unwrap();
    }
    if let Some(record) = record(b"dOps") {
        let (sample_rate, channels) = (48_000, u32::from(record[1]));
        return Config::Audio(headwater::media::AudioConfig {
            codec: Codec::Opus,
            record,
            sample_rate,
            channels,
            frame_samples: None,
            codecs: "opus".into(),
        });
    }
    // DecoderSpecificInfo: tag 5, and a length in the form of four bytes that ffmpeg writes.
    let esds = record(b"esds").expect("a codec that is known");
    let start = esds.windows(4).position(|head| head == [5, 0x80, 0x80, 0x80]).unwrap() + 5;
    codec::aac(&esds.slice(start..start + usize::from(esds[start - 1]))).unwrap()
}

/// Boxes at the top of these bytes.
fn boxes(bytes: &Bytes) -> Vec<(&[u8; 4], Bytes)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 8 <= bytes.len() {
        let size = field(bytes, at) as usize;
        let kind: &[u8; 4] = bytes[at + 4..at + 8].try_into().unwrap();
        found.push((kind, bytes.slice(at + 8..at + size)));
        at += size;
    }
    found
}

/// The body of the first box of this kind, however deep.
fn inner(bytes: &Bytes, kind: &[u8; 4]) -> Option<Bytes> {
    let at = bytes.windows(4).position(|window| window == kind)?;
    let size = field(bytes, at - 4) as usize;
    Some(bytes.slice(at + 4..at - 4 + size))
}

fn field(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A track that ffmpeg encodes with x264 from a moving picture of this size.
pub fn x264(size: &str, seconds: u32, more: &[&str]) -> Track {
    let source = format!("testsrc2=size={size}:rate=30:duration={seconds}");
    let mut arguments = vec!["-f", "lavfi", "-i", &source, "-c:v", "libx264", "-preset", "ultrafast", "-g", "30"];
    arguments.extend(more);
    let track = made(&arguments);
    assert_eq!(track.frames[0].kind, Kind::Video);
    track
}
