//! How loud some sound is: decoded, and measured in its own channels and rate. Nothing is kept from one to the next.

use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::decoder::{error, parse};
use super::nanoseconds;
use super::sound::caps;
use crate::media::loudness::Meter;
use crate::media::{AudioConfig, Codec, Config, Loudness, Time, codec};
use crate::transcode::wire::{Heard, ListenOrder};

/// Measures it, or says why not.
pub(super) fn hear(order: &ListenOrder) -> Heard {
    let outcome = match &order.config {
        Config::Audio(audio) => loudness(audio, order),
        Config::Video(_) => Err("pictures are not heard".to_owned()),
    };
    Heard { id: order.id, outcome }
}

fn loudness(audio: &AudioConfig, order: &ListenOrder) -> Result<Loudness, String> {
    let decoder = decoder(audio.codec)?;
    // Without a bound for what waits at the end: the order has one.
    let text = format!(
        "appsrc name=source format=time max-bytes=0 ! {decoder} ! audioconvert \
         ! audio/x-raw,format=F32LE,layout=interleaved ! appsink name=sink sync=false enable-last-sample=false"
    );
    let (pipeline, source, sink) = parse(&text)?;
    source.set_caps(Some(&caps(audio)));
    let heard = (|| {
        pipeline.set_state(gst::State::Playing).map_err(|_| "the sound decoder does not start".to_owned())?;
        let expected = push(&source, audio, order)?;
        let meter = pull(&sink).ok_or_else(|| error(&pipeline).unwrap_or_else(|| "nothing came out".to_owned()))?;
        let whole = expected.saturating_sub(PRIMING as u64);
        if meter.samples() * 4 < whole * 3 {
            return Err(format!("{} of {whole} samples can be decoded", meter.samples()));
        }
        meter.loudness().ok_or_else(|| "nothing came out".to_owned())
    })();
    let _ = pipeline.set_state(gst::State::Null);
    heard
}

/// The first that is installed. GStreamer's own of Opus comes last: it gives 16 bits, and bends what is beyond them, so that
/// nothing clips any more.
fn decoder(codec: Codec) -> Result<&'static str, String> {
    let opus = codec == Codec::Opus;
    let names: &[&'static str] = if opus { &["avdec_opus", "opusdec"] } else { &["avdec_aac", "fdkaacdec", "faad"] };
    let found = names.iter().find(|name| gst::ElementFactory::find(name).is_some());
    found.copied().ok_or_else(|| format!("no decoder for {} is installed ({})", codec.name(), names.join(", ")))
}

/// Puts all of it into the decoder; gives the samples of each channel that should come out.
fn push(source: &gst_app::AppSrc, audio: &AudioConfig, order: &ListenOrder) -> Result<u64, String> {
    let mut samples = 0;
    for payload in &order.frames {
        let mut buffer = gst::Buffer::from_slice(payload.clone());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(nanoseconds(Time::from_ticks(samples, audio.sample_rate)));
        }
        source.push_buffer(buffer).map_err(|error| error.to_string())?;
        samples += i64::from(codec::packet_samples(&order.config, payload));
    }
    source.end_of_stream().map_err(|error| error.to_string())?;
    Ok(samples.unsigned_abs())
}

/// Measures what comes out until there is no more, or no more time. None if nothing came.
fn pull(sink: &gst_app::AppSink) -> Option<Meter> {
    let (begun, mut known) = (Instant::now(), None);
    loop {
        let left = PATIENCE.saturating_sub(gst::ClockTime::try_from(begun.elapsed()).unwrap_or(PATIENCE));
        let Some(sample) = sink.try_pull_sample(left) else { return known.map(|(_, meter)| meter) };
        let channels = sample.caps().and_then(|caps| caps.structure(0)?.get::<i32>("channels").ok());
        let channels = usize::try_from(channels.unwrap_or(1)).unwrap_or(1);
        // What changes its channels in the middle is measured from there on.
        let (_, meter) = match &mut known {
            Some(known) if known.0 == channels => known,
            other => other.insert((channels, Meter::new(channels, PRIMING))),
        };
        let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else { continue };
        meter.take(map.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])));
    }
}

/// Samples of each channel with which a decoder begins that has not heard what was before.
const PRIMING: usize = 2_048;
/// For about a second of sound, which takes a few milliseconds.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(2);
