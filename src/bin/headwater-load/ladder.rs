//! The `ladder` mode: plays one clip to a ladder's worker process in step with the clock, as the server does, and tells what
//! the rungs cost: the worker's processor time, and for each picture the time from handing it over to having it back in each
//! rung's size. Needs no server. The rungs can be kept as files, so that their quality can be compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Args;
use headwater::media::flv::{self, Packet};
use headwater::media::{Config, Kind, Time, codec};
use headwater::rtmp::message::MessageType;
use headwater::transcode::wire::{Beat, FromWorker, Make, Order, RungId, Setup, SourceCut, SourceFrame, ToWorker};
use serde::Serialize;

use crate::Outcome;
use crate::flv::Clip;
use crate::tally::{Spread, Times};

/// Measure what a worker needs for a ladder, and how long a picture takes
#[derive(Args)]
pub(crate) struct Ladder {
    /// The program whose worker is measured
    #[arg(long, default_value = "target/release/headwater")]
    program: PathBuf,
    /// The FLV file, with H.264
    #[arg(long)]
    file: PathBuf,
    /// A rung, as WIDTHxHEIGHT@BITRATE in bits a second; again for each
    #[arg(long = "rung", required = true, value_parser = shape)]
    rungs: Vec<Shape>,
    /// Pictures a second of the clip, for the encoders' rate control
    #[arg(long, default_value_t = 30.0)]
    frame_rate: f64,
    /// Encoder, by GStreamer's name of it
    #[arg(long, default_value = "x264enc")]
    encoder: String,
    /// Speed preset of x264
    #[arg(long, default_value = "veryfast")]
    preset: String,
    /// Writes each rung as WIDTHxHEIGHT.h264 into this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    /// Of playing the clip.
    seconds: f64,
    /// Processor time of the worker while the clip was played.
    cpu_seconds: f64,
    /// Of one processor.
    cpu_percent: f64,
    sent: u64,
    decoded: u64,
    rungs: Vec<RungSummary>,
}

/// One rung.
#[derive(Debug, Serialize)]
struct RungSummary {
    name: String,
    frames: u64,
    dropped: u64,
    misses: u64,
    /// Wall time of scaling and encoding one picture.
    busy_ms: f64,
    /// From handing a picture over to having it in this rung.
    added_ms: Spread,
}

/// Size and bit rate of a rung.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    width: u32,
    height: u32,
    bitrate: u64,
}

/// What came back of one rung.
struct Came {
    added: Times,
    frames: u64,
    file: Option<BufWriter<File>>,
}

/// When each picture was handed over, by its time in flicks.
type Handed = Arc<Mutex<BTreeMap<i64, Instant>>>;

/// Segments begin with the first key frame so long after the last one.
const SEGMENT: Time = Time::from_millis(1_000);
/// After the last picture was handed over: what is under way comes out, and a last beat with it.
const REST: Duration = Duration::from_secs(1);
/// A worker that was told to end is killed after this.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two looks at whether it has ended.
const MOMENT: Duration = Duration::from_millis(20);
/// Higher than any rung needs, so that the encoder itself chooses.
const LEVEL: u8 = 51;

impl Ladder {
    /// Plays the clip once.
    pub(crate) fn run(&self) -> Outcome<Summary> {
        // Chunks as long as any message: nothing is cut.
        let clip = Clip::open(&self.file, usize::MAX).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let (config, frames) = pictures(&clip)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut worker = Command::new(&self.program)
            .arg("worker")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let played = self.play(&ours, worker.id(), &config, &frames);
        let _ = ours.shutdown(std::net::Shutdown::Both);
        end(&mut worker);
        played
    }

    fn play(&self, socket: &UnixStream, pid: u32, config: &Config, frames: &[SourceFrame]) -> Outcome<Summary> {
        let handed = Handed::default();
        let (listening, known) = (socket.try_clone()?, handed.clone());
        let came = self.rungs.iter().map(|shape| self.came(shape)).collect::<Outcome<Vec<Came>>>()?;
        let listener = std::thread::spawn(move || listen(listening, came, &known));
        let mut speaking = socket;
        let (mut bytes, began) = (BytesMut::new(), Instant::now());
        for message in self.beginning(config) {
            message.write(&mut bytes);
        }
        speaking.write_all(&bytes)?;
        let first = frames.first().map_or(Time::ZERO, |frame| frame.dts);
        for frame in frames {
            let due = began + (frame.dts - first).duration();
            wait_until(due);
            bytes.clear();
            ToWorker::Frame(frame.clone()).write(&mut bytes);
            handed.lock().unwrap_or_else(PoisonError::into_inner).insert(frame.pts.flicks(), Instant::now());
            speaking.write_all(&bytes)?;
        }
        let (cpu_seconds, seconds) = (processor_seconds(pid)?, began.elapsed().as_secs_f64());
        wait_until(Instant::now() + REST);
        socket.shutdown(std::net::Shutdown::Write)?;
        let (came, beat) = listener.join().map_err(|_| "the listener's thread died")??;
        let rungs = self.rungs.iter().zip(&came).zip(&beat.rungs).map(|((shape, came), beat)| RungSummary {
            name: shape.name(),
            frames: came.frames,
            dropped: beat.dropped,
            misses: beat.misses,
            busy_ms: beat.busy_us as f64 / 1e3 / beat.frames.max(1) as f64,
            added_ms: came.added.spread(),
        });
        Ok(Summary {
            mode: "ladder",
            seconds,
            cpu_seconds,
            cpu_percent: cpu_seconds / seconds * 100.0,
            sent: frames.len() as u64,
            decoded: beat.decoded,
            rungs: rungs.collect(),
        })
    }
}

impl Ladder {
    /// What a worker is told first.
    fn beginning(&self, config: &Config) -> [ToWorker; 3] {
        let setup = Setup {
            stream: "bench".to_owned(),
            encoders: vec![self.encoder.clone()],
            preset: self.preset.clone(),
            nice: 0,
        };
        let order = |(rung, shape): (RungId, &Shape)| {
            let Shape { width, height, bitrate } = *shape;
            let (frame_rate, nominal) = (None, self.frame_rate);
            Order {
                rung,
                make: Make::Pictures { width, height, frame_rate, nominal, bitrate, level: LEVEL },
                after: i64::MIN,
            }
        };
        let orders = (0..).zip(&self.rungs).map(order).collect();
        [ToWorker::Setup(setup), ToWorker::Config(config.clone()), ToWorker::Rungs(orders)]
    }

    fn came(&self, shape: &Shape) -> Outcome<Came> {
        let file = self.out.as_ref().map(|folder| File::create(folder.join(shape.name() + ".h264"))).transpose()?;
        Ok(Came { added: Times::new(), frames: 0, file: file.map(BufWriter::new) })
    }
}

impl Summary {
    /// Every rung has most of the pictures that were decoded.
    pub(crate) fn worked(&self) -> bool {
        self.rungs.iter().all(|rung| rung.frames * 10 >= self.sent * 9)
    }

    pub(crate) fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Summary { seconds, cpu_seconds, cpu_percent, sent, decoded, .. } = self;
        writeln!(out, "cpu        {cpu_seconds:.1} s in {seconds:.1} s, {cpu_percent:.0} % of a processor")?;
        writeln!(out, "pictures   {sent} sent, {decoded} decoded")?;
        crate::report::heading(out)?;
        for rung in &self.rungs {
            crate::report::spread(out, &format!("added, {}", rung.name), &rung.added_ms)?;
        }
        for RungSummary { name, frames, dropped, misses, busy_ms, .. } in &self.rungs {
            writeln!(
                out,
                "{name:<10} {frames} out, {dropped} dropped, {misses} misses, {busy_ms:.1} ms for a picture"
            )?;
        }
        Ok(())
    }
}

impl Shape {
    fn name(&self) -> String {
        format!("{}x{}", self.width, self.height)
    }
}

/// The clip's pictures as the server hands them to a worker.
fn pictures(clip: &Clip) -> Outcome<(Config, Vec<SourceFrame>)> {
    let mut config = None;
    for tag in clip.setup.iter().filter(|tag| tag.kind == MessageType::Video) {
        if let Packet::SequenceHeader(headwater::media::Codec::H264, record) = flv::video(&tag.chunked)?.packet {
            config = Some(codec::h264(&record)?);
        }
    }
    let config = config.ok_or("the clip has no H.264")?;
    let (mut frames, mut last_cut) = (Vec::new(), None);
    for tag in clip.tags.iter().filter(|tag| tag.kind == MessageType::Video) {
        let Packet::Frame { composition_ms, payload, .. } = flv::video(&tag.chunked)?.packet else { continue };
        // A timeline begins above zero, whatever B-frames subtract.
        let dts = Time::from_millis(i64::from(tag.time)) + SEGMENT;
        let pts = dts + Time::from_millis(i64::from(composition_ms));
        let key = codec::is_random_access(&config, &payload);
        let cuts = key && last_cut.is_none_or(|last| pts - last >= SEGMENT);
        let cut = cuts.then_some(SourceCut { at: pts, discontinuity: false });
        last_cut = if cuts { Some(pts) } else { last_cut };
        frames.push(SourceFrame { kind: Kind::Video, dts, pts, key, cut, payload });
    }
    Ok((config, frames))
}

/// Takes what the worker says until it says no more. Gives what came, and the last beat.
fn listen(mut socket: UnixStream, mut came: Vec<Came>, handed: &Handed) -> std::io::Result<(Vec<Came>, Beat)> {
    let (mut input, mut chunk, mut last) = (BytesMut::new(), vec![0; 256 * 1024], Beat::default());
    loop {
        let length = socket.read(&mut chunk)?;
        let now = Instant::now();
        input.extend_from_slice(&chunk[..length]);
        while let Some(message) = FromWorker::read(&mut input).map_err(std::io::Error::other)? {
            match message {
                FromWorker::Config(rung, Config::Video(video)) => {
                    if let Some(file) = came.get_mut(rung as usize).and_then(|came| came.file.as_mut()) {
                        file.write_all(&parameter_sets(&video.record))?;
                    }
                }
                FromWorker::Frame(frame) => {
                    let Some(came) = came.get_mut(frame.rung as usize) else { continue };
                    came.frames += 1;
                    let handed =
                        handed.lock().unwrap_or_else(PoisonError::into_inner).get(&frame.pts.flicks()).copied();
                    if let Some(handed) = handed {
                        came.added.record(now - handed);
                    }
                    if let Some(file) = &mut came.file {
                        file.write_all(&annex_b(&frame.payload))?;
                    }
                }
                FromWorker::Beat(beat) => last = beat,
                FromWorker::Trouble(trouble) => return Err(std::io::Error::other(trouble.what)),
                FromWorker::Config(..) | FromWorker::Still(_) | FromWorker::Heard(_) => {}
            }
        }
        if length == 0 {
            for file in came.iter_mut().filter_map(|came| came.file.as_mut()) {
                file.flush()?;
            }
            return Ok((came, last));
        }
    }
}

/// Units behind start codes instead of lengths.
fn annex_b(unit: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(unit.len()), unit);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((nal, behind)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        out.extend_from_slice(START);
        out.extend_from_slice(nal);
        rest = behind;
    }
    out
}

/// Those of an avcC record behind start codes: one SPS and one PPS, as encoders write it.
fn parameter_sets(record: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), record.get(6..).unwrap_or_default());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let Some((nal, behind)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        out.extend_from_slice(START);
        out.extend_from_slice(nal);
        // Behind the last SPS stands the number of PPSs.
        rest = behind.get(1..).unwrap_or_default();
    }
    out
}

const START: &[u8] = &[0, 0, 0, 1];

/// User and system time of all threads of a process so far.
fn processor_seconds(pid: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name in parentheses may hold spaces; counting starts behind it.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok());
    let sum = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(sum.ok_or("the kernel tells no processor time")? / rustix::param::clock_ticks_per_second() as f64)
}

fn end(worker: &mut Child) {
    let told = Instant::now();
    while told.elapsed() < FAREWELL && matches!(worker.try_wait(), Ok(None)) {
        std::thread::park_timeout(MOMENT);
    }
    let _ = worker.kill();
    let _ = worker.wait();
}

fn wait_until(due: Instant) {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Reads WIDTHxHEIGHT@BITRATE.
fn shape(text: &str) -> Result<Shape, String> {
    let parsed = || {
        let (size, bitrate) = text.split_once('@')?;
        let (width, height) = size.split_once('x')?;
        let even = |side: &str| side.parse::<u32>().ok().filter(|side| (16..=8192).contains(side) && side % 2 == 0);
        let bitrate = bitrate.parse().ok().filter(|bitrate| (10_000..=1_000_000_000).contains(bitrate))?;
        Some(Shape { width: even(width)?, height: even(height)?, bitrate })
    };
    parsed().ok_or_else(|| "WIDTHxHEIGHT@BITRATE with even sides, such as 1280x720@3000000".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rung_is_read_or_refused() {
        assert_eq!(shape("1280x720@3000000"), Ok(Shape { width: 1280, height: 720, bitrate: 3_000_000 }));
        for wrong in ["", "1280x720", "1281x720@3000000", "0x0@1", "x@", "1280x720@3M", "8x8@3000000"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn units_get_start_codes() {
        assert_eq!(annex_b(&[0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 0x41]), [0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x41]);
        assert_eq!(annex_b(&[0, 0, 0, 9, 1]), [0; 0], "cut short");
        let record = [1, 77, 64, 30, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 2];
        assert_eq!(parameter_sets(&record), [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2]);
    }

    #[test]
    fn a_clip_of_something_else_is_refused() {
        let file = crate::flv::tests::file(&[(8, 0, &[0xaf, 0, 0x12]), (8, 20, &[0xaf, 1, 7]), (8, 40, &[0xaf, 1, 7])]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sound.flv");
        std::fs::write(&path, file).unwrap();
        assert_eq!(pictures(&Clip::open(&path, usize::MAX).unwrap()).unwrap_err().to_string(), "the clip has no H.264");
    }

    #[test]
    fn processor_time_is_read() {
        assert!(processor_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(processor_seconds(u32::MAX).is_err());
    }
}
