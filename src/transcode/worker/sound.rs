//! Makes sound anew: the source's AAC or Opus in, AAC or Opus of 48 kHz in stereo out, heard at the same time as in the
//! source. Owned by the worker's reading thread.

use std::sync::Arc;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::decoder::{error, parse};
use super::nanoseconds;
use super::speaker::Speaker;
use crate::media::{AudioConfig, Codec, Config, Time, codec};
use crate::transcode::wire::{FromWorker, Make, Order, RungFrame, RungId, SourceFrame, Trouble};

/// All sound that is made.
pub(super) struct Sounds {
    speaker: Arc<Speaker>,
    source: Option<AudioConfig>,
    orders: Vec<Order>,
    chains: Vec<Chain>,
}

/// A decoder and an encoder.
struct Chain {
    rung: RungId,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

/// Frames that wait to be decoded, at most 120 ms each.
const QUEUE: u64 = 64;
/// Samples a second and channels that come out.
const RATE: u32 = 48_000;
const CHANNELS: u32 = 2;
/// The encoder of AAC, which comes with the decoders, and the samples of silence with which it begins.
const AAC: (&str, u32) = ("avenc_aac", 1_024);
/// libopus looks so far ahead at 48 kHz; GStreamer's opusenc has taken it off its times already.
const OPUS_PRESKIP: u16 = 312;

impl Sounds {
    pub(super) fn new(speaker: Arc<Speaker>) -> Sounds {
        Sounds { speaker, source: None, orders: Vec::new(), chains: Vec::new() }
    }

    /// Frames of this configuration follow.
    pub(super) fn configure(&mut self, config: Config) {
        let Config::Audio(audio) = config else { return };
        if self.source.as_ref() == Some(&audio) {
            return;
        }
        self.chains.clear();
        self.source = Some(audio);
        self.start();
    }

    /// What is wanted from now on.
    pub(super) fn order(&mut self, orders: Vec<Order>) {
        let what = |order: &Order| (order.rung, order.make.clone());
        let same = self.orders.iter().map(what).eq(orders.iter().map(what));
        self.orders = orders;
        if !same {
            self.chains.clear();
            self.start();
        }
    }

    /// One frame of the source's sound.
    pub(super) fn push(&mut self, frame: &SourceFrame) {
        // One that has failed takes nothing any more, and would be waited for.
        let speaker = &self.speaker;
        self.chains.retain(|chain| {
            let trouble = chain.trouble();
            let over = trouble.is_some();
            if let Some(what) = trouble {
                speaker.say(FromWorker::Trouble(Trouble { rung: Some(chain.rung), over, what }));
            }
            !over
        });
        for chain in &self.chains {
            let mut buffer = gst::Buffer::from_slice(frame.payload.clone());
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(nanoseconds(frame.pts));
            }
            let _ = chain.source.push_buffer(buffer);
        }
    }

    fn start(&mut self) {
        let Some(source) = &self.source else { return };
        for order in &self.orders {
            match Chain::start(source, order, self.speaker.clone()) {
                Ok(chain) => self.chains.push(chain),
                Err(what) => {
                    self.speaker.say(FromWorker::Trouble(Trouble { rung: Some(order.rung), over: true, what }))
                }
            }
        }
    }
}

impl Chain {
    fn start(audio: &AudioConfig, order: &Order, speaker: Arc<Speaker>) -> Result<Chain, String> {
        let Make::Sound { opus, bitrate } = order.make else { return Err("no sound is asked for".to_owned()) };
        let decoder = if audio.codec == Codec::Opus { "opusdec" } else { "avdec_aac" };
        let (encoder, priming) = encoder(opus, bitrate)?;
        let text = format!(
            "appsrc name=source format=time block=true max-buffers={QUEUE} max-bytes=0 max-time=0 ! {decoder} \
             ! audioconvert ! audioresample ! audio/x-raw,rate={RATE},channels={CHANNELS} ! {encoder} \
             ! appsink name=sink sync=false enable-last-sample=false"
        );
        let (pipeline, source, sink) = parse(&text)?;
        source.set_caps(Some(&caps(audio)));
        let (rung, after) = (order.rung, Time::from_flicks(order.after));
        let mut known: Option<Config> = None;
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let config = sample.caps().and_then(|caps| made_config(caps, opus));
                    if config.is_some() && config != known {
                        known.clone_from(&config);
                        if let Some(config) = config {
                            speaker.say(FromWorker::Config(rung, config));
                        }
                    }
                    if let (Some((pts, payload)), Some(config)) = (unit(&sample, priming), &known)
                        && let pts = pts - cut_off(&sample, config, &payload)
                        && pts > after
                    {
                        speaker.say(FromWorker::Frame(RungFrame { rung, pts, key: true, payload }));
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        pipeline.set_state(gst::State::Playing).map_err(|_| "the sound encoder does not start".to_owned())?;
        Ok(Chain { rung, pipeline, source })
    }
}

impl Chain {
    /// Why it does not work, if it does not.
    fn trouble(&self) -> Option<String> {
        error(&self.pipeline).map(|error| format!("the sound cannot be made anew: {error}"))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            super::complain(&format!("the sound of rung {} does not stop", self.rung));
        }
    }
}

/// The encoder as text, and the samples of silence it begins with.
fn encoder(opus: bool, bitrate: u64) -> Result<(String, u32), String> {
    if opus {
        return Ok((format!("opusenc bitrate={bitrate} frame-size=20"), 0));
    }
    let (name, priming) = AAC;
    if gst::ElementFactory::find(name).is_none() {
        return Err(format!("no AAC encoder is installed ({name})"));
    }
    Ok((format!("{name} bitrate={bitrate} ! audio/mpeg,mpegversion=4,stream-format=raw"), priming))
}

/// Caps of the source's frames.
pub(super) fn caps(audio: &AudioConfig) -> gst::Caps {
    if audio.codec == Codec::Opus {
        return gst::Caps::builder("audio/x-opus")
            .field("channel-mapping-family", 0)
            .field("rate", audio.sample_rate as i32)
            .field("channels", audio.channels as i32)
            .build();
    }
    gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("stream-format", "raw")
        .field("framed", true)
        .field("rate", audio.sample_rate as i32)
        .field("channels", audio.channels as i32)
        .field("codec_data", gst::Buffer::from_slice(audio.record.clone()))
        .build()
}

fn made_config(caps: &gst::CapsRef, opus: bool) -> Option<Config> {
    if opus {
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend_from_slice(&OPUS_PRESKIP.to_le_bytes());
        head.extend_from_slice(&RATE.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        return codec::opus(&Bytes::from(head)).ok();
    }
    let record = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    codec::aac(&Bytes::copy_from_slice(&record.map_readable().ok()?)).ok()
}

/// How much shorter the frame is said to be than what it decodes to: opusenc takes its pre-skip off the first one so.
fn cut_off(sample: &gst::Sample, config: &Config, payload: &[u8]) -> Time {
    let whole = Time::from_ticks(codec::packet_samples(config, payload).into(), RATE);
    let Some(said) = sample.buffer().and_then(|buffer| buffer.duration()) else { return Time::ZERO };
    let said = Time::from_ticks(i64::try_from(said.nseconds()).unwrap_or(0), 1_000_000_000);
    if config.codec() == Codec::Opus && said < whole { whole - said } else { Time::ZERO }
}

/// A frame, at the time at which what it decodes to is to be heard.
fn unit(sample: &gst::Sample, priming: u32) -> Option<(Time, Bytes)> {
    let buffer = sample.buffer()?;
    let pts = sample.segment()?.downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)?;
    let pts = Time::from_ticks(i64::try_from(pts.nseconds()).ok()?, 1_000_000_000);
    let pts = pts - Time::from_ticks(i64::from(priming), RATE);
    let payload = Bytes::copy_from_slice(&buffer.map_readable().ok()?);
    (!payload.is_empty()).then_some((pts, payload))
}
