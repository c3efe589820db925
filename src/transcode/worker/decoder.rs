//! Decodes the source's pictures, once for all rungs: access units in, I420 pictures out to the studio, each with exactly
//! the time of its access unit. Owned by the worker's reading thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::nanoseconds;
use super::studio::{Picture, Studio};
use crate::media::{Codec, Config, Time, VideoConfig};
use crate::transcode::wire::SourceFrame;

/// A running decoder of one codec.
pub(super) struct Decoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    config: Config,
    times: Arc<Times>,
}

/// The exact time of every access unit that is in the decoder, by its nanosecond.
#[derive(Default)]
struct Times {
    by_nanosecond: Mutex<BTreeMap<u64, Time>>,
    lost: AtomicU64,
}

/// Access units that may be in a decoder; one that never comes out is forgotten.
const IN_DECODER: usize = 256;
/// Access units that wait for the decoder. Then reading from the socket waits.
const QUEUE: u64 = 32;
/// Pictures up to this size are decoded in time by one thread, without the delay of a frame per thread.
const ONE_THREAD: u64 = 1920 * 1088;

impl Decoder {
    /// Starts a decoder of this codec. Errors are in words for the operator.
    pub(super) fn start(config: &Config, studio: Arc<Studio>) -> Result<Decoder, String> {
        let Config::Video(video) = config else { return Err("no pictures to decode".to_owned()) };
        let elements = element(video)?;
        let text = format!(
            "appsrc name=source format=time block=true max-buffers={QUEUE} max-bytes=0 max-time=0 ! {elements} \
             ! deinterlace fields=top ! videoconvert n-threads=1 ! video/x-raw,format=I420 \
             ! appsink name=sink sync=false max-buffers=2 enable-last-sample=false"
        );
        let (pipeline, source, sink) = parse(&text)?;
        source.set_caps(Some(&caps(video)));
        let times = Arc::new(Times::default());
        let own = times.clone();
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(picture) = own.picture(&sample) {
                        studio.take(picture);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| format!("the decoder of {} does not start", video.codec.name()))?;
        Ok(Decoder { pipeline, source, config: config.clone(), times })
    }

    /// Access units of this configuration follow. False: it takes another decoder.
    pub(super) fn take_config(&mut self, config: &Config) -> bool {
        if *config == self.config {
            return true;
        }
        let (Config::Video(video), true) = (config, config.codec() == self.config.codec()) else { return false };
        self.source.set_caps(Some(&caps(video)));
        self.config = config.clone();
        true
    }

    /// No error has come out of it.
    pub(super) fn is_sound(&self) -> bool {
        error(&self.pipeline).is_none()
    }

    /// Takes one access unit; waits while too many wait already.
    pub(super) fn push(&self, frame: &SourceFrame) {
        let time = nanoseconds(frame.pts);
        self.times.remember(time.nseconds(), frame.pts);
        let mut buffer = gst::Buffer::from_slice(frame.payload.clone());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time);
            buffer.set_dts(nanoseconds(frame.dts));
            if !frame.key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // What it refuses it says on its bus.
        let _ = self.source.push_buffer(buffer);
    }

    /// Gives out what is in it, and ends.
    pub(super) fn drain(self) {
        drain(&self.pipeline, &self.source);
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Times {
    fn remember(&self, nanosecond: u64, time: Time) {
        let mut known = self.by_nanosecond.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(nanosecond, time);
        if known.len() > IN_DECODER {
            known.pop_first();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn picture(&self, sample: &gst::Sample) -> Option<Picture> {
        let buffer = sample.buffer_owned()?;
        let pts = sample.segment()?.downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)?;
        let pts = self.by_nanosecond.lock().unwrap_or_else(PoisonError::into_inner).remove(&pts.nseconds())?;
        let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
        Some(Picture { pts, buffer, info })
    }
}

/// Builds a pipeline between an appsrc `source` and an appsink `sink`.
pub(super) fn parse(text: &str) -> Result<(gst::Pipeline, gst_app::AppSrc, gst_app::AppSink), String> {
    let built = gst::parse::launch(text).map_err(|error| error.to_string())?;
    let pipeline = built.downcast::<gst::Pipeline>().map_err(|_| "no pipeline".to_owned())?;
    let source = pipeline.by_name("source").and_then(|source| source.downcast().ok());
    let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast().ok());
    match (source, sink) {
        (Some(source), Some(sink)) => Ok((pipeline, source, sink)),
        _ => Err("a pipeline without ends".to_owned()),
    }
}

/// The next error that a pipeline tells of, if it has any.
pub(super) fn error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().to_string()),
        _ => None,
    }
}

/// Ends what goes into a pipeline, and waits until it has given out what is in it.
pub(super) fn drain(pipeline: &gst::Pipeline, source: &gst_app::AppSrc) {
    let _ = source.end_of_stream();
    if let Some(bus) = pipeline.bus() {
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let _ = bus.timed_pop_filtered(DRAIN, &ends);
    }
}

/// For all that may be in a pipeline.
const DRAIN: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// The elements that decode it.
pub(super) fn element(video: &VideoConfig) -> Result<String, String> {
    let threads = if u64::from(video.width) * u64::from(video.height) > ONE_THREAD { 0 } else { 1 };
    let found = |name: &str| gst::ElementFactory::find(name).is_some();
    let name = match video.codec {
        Codec::H264 => "avdec_h264",
        Codec::H265 => "avdec_h265",
        Codec::Vp8 => "vp8dec",
        Codec::Vp9 => "vp9dec",
        _ if found("dav1ddec") => "dav1ddec",
        _ => "av1dec",
    };
    if !found(name) {
        return Err(format!("no decoder for {} is installed ({name})", video.codec.name()));
    }
    Ok(match video.codec {
        Codec::H264 | Codec::H265 => format!("{name} max-threads={threads} max-errors=-1"),
        Codec::Vp8 | Codec::Vp9 => format!("{name} threads={}", threads.max(1)),
        _ => format!("av1parse ! {name}"),
    })
}

/// Caps of the access units.
pub(super) fn caps(video: &VideoConfig) -> gst::Caps {
    let plain = |media| {
        let caps = gst::Caps::builder(media);
        caps.field("width", video.width as i32).field("height", video.height as i32).build()
    };
    let record = gst::Buffer::from_slice(video.record.clone());
    let (media, format) = match video.codec {
        Codec::Vp8 => return plain("video/x-vp8"),
        Codec::Vp9 => return plain("video/x-vp9"),
        Codec::H264 => ("video/x-h264", "avc"),
        Codec::H265 => ("video/x-h265", "hvc1"),
        _ => ("video/x-av1", "obu-stream"),
    };
    gst::Caps::builder(media)
        .field("stream-format", format)
        .field("alignment", if video.codec == Codec::Av1 { "tu" } else { "au" })
        .field("codec_data", record)
        .field("width", video.width as i32)
        .field("height", video.height as i32)
        .build()
}
