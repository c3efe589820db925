//! What works on this machine: each encoder that is known is tried with a few pictures, for an element that is installed
//! may still find no device. Run once, in a process of its own, because a driver may hang or crash.

use std::io::{self, Write};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encoders::{self, Job};

/// The kind of H.264 encoders.
pub const H264_ENCODER: &str = "h264 encoder";

/// What became of one element that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probed {
    /// [`H264_ENCODER`], `aac encoder`, `opus encoder` or `decoder`.
    pub kind: String,
    /// GStreamer's name.
    pub name: String,
    /// It was tried, or where nothing was to be tried it is there.
    pub works: bool,
    /// Why it does not; empty if it does.
    pub why: String,
    /// Of an H.264 encoder that works: profile_idc and the constraint flags that it writes, in hexadecimal (`4d40`).
    pub profile: Option<String>,
}

/// Elements that are only looked for, by kind.
const OTHERS: [(&str, &str); 8] = [
    ("aac encoder", "avenc_aac"),
    ("opus encoder", "opusenc"),
    ("decoder", "avdec_h264"),
    ("decoder", "avdec_h265"),
    ("decoder", "dav1ddec"),
    ("decoder", "av1dec"),
    ("decoder", "avdec_aac"),
    ("decoder", "opusdec"),
];
const NOT_INSTALLED: &str = "not installed, or no device";
/// For a few small pictures.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// Writes what was found to standard output, as JSON.
pub(super) fn run(preset: &str) -> io::Result<()> {
    gst::init().map_err(io::Error::other)?;
    let encoders = encoders::KNOWN.into_iter().map(|name| probed(H264_ENCODER, name, attempt(name, preset).map(Some)));
    let others = OTHERS.into_iter().map(|(kind, name)| probed(kind, name, look_for(name).map(|()| None)));
    let found: Vec<Probed> = encoders.chain(others).collect();
    serde_json::to_writer(io::stdout().lock(), &found)?;
    io::stdout().flush()
}

fn probed(kind: &str, name: &str, outcome: Result<Option<String>, String>) -> Probed {
    let works = outcome.is_ok();
    let (profile, why) = outcome.map_or_else(|why| (None, why), |profile| (profile, String::new()));
    Probed { kind: kind.into(), name: name.into(), works, why, profile }
}

fn look_for(name: &str) -> Result<(), String> {
    gst::ElementFactory::find(name).map(drop).ok_or_else(|| NOT_INSTALLED.to_owned())
}

/// Encodes a few pictures; gives their profile.
fn attempt(name: &str, preset: &str) -> Result<String, String> {
    look_for(name)?;
    let job = Job { width: 320, height: 240, nominal: 30.0, bitrate: 500_000, level: 31, preset: preset.to_owned() };
    let encoder = encoders::pipeline(name, &job).ok_or("not known")?;
    let text = format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! {encoder} \
         ! appsink name=sink sync=false"
    );
    let pipeline = gst::parse::launch(&text).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()).ok_or("no sink")?;
    let tried = pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| "it does not start".to_owned())
        .and_then(|_| sink.try_pull_sample(PATIENCE).ok_or_else(|| complaint(&pipeline)))
        .and_then(|sample| {
            let delta = sample.buffer().is_none_or(|buffer| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
            if delta { Err("it does not begin with a key frame".to_owned()) } else { profile(&sample) }
        });
    let _ = pipeline.set_state(gst::State::Null);
    tried
}

/// Bytes 1 and 2 of the avcC record.
fn profile(sample: &gst::Sample) -> Result<String, String> {
    let record = sample.caps().and_then(|caps| caps.structure(0)?.get::<gst::Buffer>("codec_data").ok());
    let map = record.as_ref().and_then(|record| record.map_readable().ok());
    match map.as_deref() {
        Some([_, profile, constraints, ..]) => Ok(format!("{profile:02x}{constraints:02x}")),
        _ => Err("it gives no parameter sets".to_owned()),
    }
}

fn complaint(pipeline: &gst::Pipeline) -> String {
    let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    match error.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => error.error().to_string(),
        _ => "it encodes nothing".to_owned(),
    }
}
