//! One rung's encoder: pictures of the rung's size in, H.264 access units out to the parent, with an IDR wherever a segment
//! begins. Checks that the IDR came. Owned by the studio.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::decoder::{drain, error, parse};
use super::encoders::{self, Job};
use super::nanoseconds;
use super::speaker::Speaker;
use super::studio::Picture;
use crate::media::{Time, codec};
use crate::transcode::wire::{FromWorker, RungFrame, RungId};

/// A running encoder.
pub(super) struct Encoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    inner: Arc<Inner>,
    fed: Option<Instant>,
}

/// What its threads share.
struct Inner {
    rung: RungId,
    /// Exact times of what is in the encoder, by nanosecond.
    times: Mutex<BTreeMap<u64, Time>>,
    /// Nanoseconds of pictures that must become IDRs, and have not come out yet.
    forced: Mutex<BTreeSet<u64>>,
    config: Mutex<Option<Bytes>>,
    begun: Mutex<Instant>,
    frames: AtomicU64,
    busy_us: AtomicU64,
    misses: AtomicU64,
    /// An IDR is owed: where one should have been there was none.
    owed: AtomicBool,
}

/// Pictures that wait for an encoder: a quarter of a second of the usual rates. More would only be delay.
const QUEUE: u64 = 8;
/// An encoder that takes pictures and gives none for so long does not work.
const SILENCE: Duration = Duration::from_secs(2);

impl Encoder {
    /// Starts an encoder by GStreamer's name of it. `pixels`: width to height of one. Errors are in words for the operator.
    pub(super) fn start(
        name: &str,
        rung: RungId,
        job: &Job,
        pixels: gst::Fraction,
        speaker: Arc<Speaker>,
    ) -> Result<Encoder, String> {
        let text = encoders::pipeline(name, job).ok_or_else(|| format!("{name} is no encoder that is known"))?;
        let text = format!(
            "appsrc name=source format=time block=false max-buffers={QUEUE} max-bytes=0 max-time=0 ! {text} \
             ! appsink name=sink sync=false enable-last-sample=false"
        );
        let (pipeline, source, sink) = parse(&text)?;
        source.set_caps(Some(&raw_caps(job, pixels)));
        let inner = Arc::new(Inner {
            rung,
            times: Mutex::default(),
            forced: Mutex::default(),
            config: Mutex::default(),
            begun: Mutex::new(Instant::now()),
            frames: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            owed: AtomicBool::new(false),
        });
        let (forcing, out) = (inner.clone(), inner.clone());
        let pad = source.static_pad("src").ok_or("an appsrc without pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) {
                forcing.enter(pad, pts);
            }
            gst::PadProbeReturn::Ok
        });
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    out.leave(&sample, &speaker);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        pipeline.set_state(gst::State::Playing).map_err(|_| format!("{name} does not start"))?;
        Ok(Encoder { pipeline, source, inner, fed: None })
    }

    /// Takes a picture of the right size; `key`: it must become an IDR. False: too many wait, it was not taken.
    pub(super) fn push(&mut self, picture: &Picture, key: bool) -> bool {
        if self.queue() >= QUEUE as u32 {
            return false;
        }
        let pts = nanoseconds(picture.pts);
        lock(&self.inner.times).insert(pts.nseconds(), picture.pts);
        let first = self.fed.is_none();
        // An encoder begins with an IDR by itself. Asked for one then, x264enc takes no other request ever after.
        if !first && (key || self.inner.owed.swap(false, Ordering::Relaxed)) {
            lock(&self.inner.forced).insert(pts.nseconds());
        }
        if first || lock(&self.inner.times).len() == 1 {
            self.fed = Some(Instant::now());
        }
        let mut buffer = picture.buffer.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(gst::ClockTime::NONE);
            buffer.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::DELTA_UNIT);
        }
        let _ = self.source.push_buffer(buffer);
        true
    }

    /// Gives out what is in it; nothing may be pushed after. Waits for that, as what comes after must not overtake it.
    pub(super) fn drain(&self) {
        drain(&self.pipeline, &self.source);
    }

    /// Why it does not work, if it does not.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(error) = error(&self.pipeline) {
            return Some(error);
        }
        let waits = !lock(&self.inner.times).is_empty();
        let silent = self.fed.is_some_and(|fed| fed.elapsed() > SILENCE) && lock(&self.inner.begun).elapsed() > SILENCE;
        (waits && silent).then(|| "it takes pictures and gives none".to_owned())
    }

    pub(super) fn queue(&self) -> u32 {
        self.source.property::<u64>("current-level-buffers") as u32
    }

    pub(super) fn frames(&self) -> u64 {
        self.inner.frames.load(Ordering::Relaxed)
    }

    pub(super) fn busy_us(&self) -> u64 {
        self.inner.busy_us.load(Ordering::Relaxed)
    }

    pub(super) fn misses(&self) -> u64 {
        self.inner.misses.load(Ordering::Relaxed)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Stopping waits for the encoder's thread, and nobody shall wait for that.
        let pipeline = self.pipeline.clone();
        let stop = move || {
            let _ = pipeline.set_state(gst::State::Null);
        };
        let _ = std::thread::Builder::new().name("stop".into()).spawn(stop);
    }
}

impl Inner {
    /// A picture is about to reach the encoder.
    fn enter(&self, pad: &gst::Pad, pts: gst::ClockTime) {
        *lock(&self.begun) = Instant::now();
        if lock(&self.forced).contains(&pts.nseconds()) {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .timestamp(pts)
                .stream_time(pts)
                .running_time(pts)
                .all_headers(true)
                .build();
            pad.push_event(event);
        }
    }

    /// An access unit has left the encoder.
    fn leave(&self, sample: &gst::Sample, speaker: &Speaker) {
        let busy = lock(&self.begun).elapsed();
        self.busy_us.fetch_add(u64::try_from(busy.as_micros()).unwrap_or(0), Ordering::Relaxed);
        let Some((pts, key, payload)) = self.unit(sample) else { return };
        self.frames.fetch_add(1, Ordering::Relaxed);
        if let Some(config) = sample.caps().and_then(|caps| self.new_config(caps)) {
            speaker.say(FromWorker::Config(self.rung, config));
        }
        speaker.say(FromWorker::Frame(RungFrame { rung: self.rung, pts, key, payload }));
    }

    fn unit(&self, sample: &gst::Sample) -> Option<(Time, bool, Bytes)> {
        let buffer = sample.buffer()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let nanosecond = segment.to_running_time(buffer.pts()?)?.nseconds();
        let pts = {
            let mut times = lock(&self.times);
            let pts = times.remove(&nanosecond)?;
            // What should have come out before it never will.
            *times = times.split_off(&nanosecond);
            pts
        };
        let map = buffer.map_readable().ok()?;
        let (payload, key) = strip(&map);
        let wanted = {
            let mut forced = lock(&self.forced);
            let wanted = forced.remove(&nanosecond);
            *forced = forced.split_off(&nanosecond);
            wanted
        };
        if wanted && !key {
            self.misses.fetch_add(1, Ordering::Relaxed);
            self.owed.store(true, Ordering::Relaxed);
        }
        Some((pts, key, payload))
    }

    fn new_config(&self, caps: &gst::CapsRef) -> Option<crate::media::Config> {
        let record = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
        let record = Bytes::copy_from_slice(&record.map_readable().ok()?);
        let mut known = lock(&self.config);
        if known.as_ref() == Some(&record) {
            return None;
        }
        *known = Some(record.clone());
        codec::h264(&record).ok()
    }
}

/// The access unit without what belongs into the init section, and whether it is an IDR.
fn strip(unit: &[u8]) -> (Bytes, bool) {
    let mut out = BytesMut::with_capacity(unit.len());
    let (mut rest, mut key) = (unit, false);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(nal) = after.get(..length) else { break };
        let kind = nal.first().map_or(0, |header| header & 0x1f);
        key |= kind == IDR;
        if !IN_INIT.contains(&kind) {
            out.put_u32(length as u32);
            out.put_slice(nal);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    (out.freeze(), key)
}

const IDR: u8 = 5;
/// Parameter sets, delimiters and filler (ITU-T H.264 table 7-1).
const IN_INIT: [u8; 4] = [7, 8, 9, 12];

fn raw_caps(job: &Job, pixels: gst::Fraction) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", job.width as i32)
        .field("height", job.height as i32)
        .field("framerate", gst::Fraction::approximate_f64(job.nominal.max(1.0)).unwrap_or(gst::Fraction::new(30, 1)))
        .field("pixel-aspect-ratio", pixels)
        .build()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
