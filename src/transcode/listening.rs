//! How loud a live stream is: the last second of its sound, decoded and measured in the [`Lab`]. What it means is for others
//! to say.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::lab::Lab;
use super::wire::{FromWorker, ListenOrder, ToWorker};
use crate::hub::{From, Stream};
use crate::media::{Config, Frame, Kind, Time, codec};
use crate::metrics::{LISTEN_FAILED, LISTEN_SECONDS};

/// Listens once; where nothing new has come since the last time, or too little, not at all.
pub(super) async fn listen(lab: &mut Lab, stream: &Stream) {
    let mut sound = LastSecond::default();
    // Who reads from the oldest frame on is never behind.
    let _ = stream.frames().cursor(From::Oldest).look(|frame| sound.take(frame));
    let Some((config, frames, until)) = sound.whole() else { return };
    if stream.heard().is_some_and(|heard| heard.until == until) {
        return;
    }
    let asked = Instant::now();
    let order = |id| ToWorker::Listen(ListenOrder { id, config: (*config).clone(), frames });
    let read = |message| match message {
        FromWorker::Heard(heard) => Some((heard.id, heard.outcome)),
        _ => None,
    };
    let answer = lab.ask(stream.epoch(), order, read).await;
    metrics::histogram!(LISTEN_SECONDS).record(asked.elapsed().as_secs_f64());
    match answer {
        Some(Ok(loudness)) => return stream.set_heard(loudness, until),
        Some(Err(why)) => tracing::debug!(stream = %stream.name(), why, "the sound is not measured"),
        None => {}
    }
    metrics::counter!(LISTEN_FAILED).increment(1);
}

/// The newest frames of sound that are one track's.
#[derive(Debug, Default)]
struct LastSecond {
    config: Option<Arc<Config>>,
    /// Each with its samples.
    frames: VecDeque<(Bytes, u32)>,
    samples: u64,
    bytes: usize,
    until: Time,
}

impl LastSecond {
    fn take(&mut self, frame: &Frame) {
        if frame.kind() != Kind::Audio {
            return;
        }
        if !self.config.as_ref().is_some_and(|config| Arc::ptr_eq(config, &frame.config)) {
            *self = LastSecond { config: Some(frame.config.clone()), ..LastSecond::default() };
        }
        let samples = codec::packet_samples(&frame.config, &frame.payload);
        self.frames.push_back((frame.payload.clone(), samples));
        self.samples += u64::from(samples);
        self.bytes += frame.payload.len();
        self.until = frame.pts;
        while let Some((oldest, samples)) = self.frames.front().cloned()
            && (self.samples - u64::from(samples) >= self.wanted()
                || self.bytes > MOST_BYTES
                || self.frames.len() > MOST_FRAMES)
        {
            self.frames.pop_front();
            self.samples -= u64::from(samples);
            self.bytes -= oldest.len();
        }
    }

    /// Samples of a second, and of what a decoder begins with.
    fn wanted(&self) -> u64 {
        self.rate() + PRIMING
    }

    fn rate(&self) -> u64 {
        match self.config.as_deref() {
            Some(Config::Audio(audio)) => u64::from(audio.sample_rate),
            _ => 0,
        }
    }

    /// None while it is less than half a second.
    fn whole(self) -> Option<(Arc<Config>, Vec<Bytes>, Time)> {
        let enough = self.samples >= self.rate() / 2 + PRIMING;
        let frames = self.frames.into_iter().map(|(payload, _)| payload).collect();
        self.config.filter(|_| enough).map(|config| (config, frames, self.until))
    }
}

/// Samples that the worker leaves out at the beginning.
const PRIMING: u64 = 2_048;
/// Twice what a second of AAC in stereo has at the most, at 96 kHz.
const MOST_BYTES: usize = 256 * 1024;
/// A second of Opus has 400 packets at the most, of 2.5 ms.
const MOST_FRAMES: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::media::{AudioConfig, Codec, VideoConfig};

    fn aac(rate: u32) -> Arc<Config> {
        Arc::new(Config::Audio(AudioConfig {
            codec: Codec::Aac,
            record: Bytes::new(),
            sample_rate: rate,
            channels: 2,
            frame_samples: Some(1_024),
            codecs: "mp4a.40.2".to_owned(),
        }))
    }

    fn frames(config: &Arc<Config>, numbers: std::ops::Range<i64>, bytes: usize) -> Vec<Frame> {
        let payload = Bytes::from(vec![7; bytes]);
        let frame = |n: i64| {
            let at = Time::from_ticks(n * 1_024, 48_000);
            Frame { dts: at, pts: at, key: true, cut: None, config: config.clone(), payload: payload.clone() }
        };
        numbers.map(frame).collect()
    }

    fn taken<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> LastSecond {
        let mut sound = LastSecond::default();
        frames.into_iter().for_each(|frame| sound.take(frame));
        sound
    }

    #[test]
    fn the_last_second_is_kept_and_what_a_decoder_begins_with() {
        let (_, kept, until) = taken(&frames(&aac(48_000), 0..500, 300)).whole().unwrap();
        // 48,000 and 2,048 samples in frames of 1,024.
        assert_eq!((kept.len(), until), (49, Time::from_ticks(499 * 1_024, 48_000)));
        let (_, kept, _) = taken(&frames(&aac(8_000), 0..500, 300)).whole().unwrap();
        assert_eq!(kept.len(), 10);
    }

    #[test]
    fn less_than_half_a_second_is_not_listened_to() {
        assert!(taken(&frames(&aac(48_000), 0..25, 300)).whole().is_none());
        assert!(taken(&frames(&aac(48_000), 0..26, 300)).whole().is_some());
        assert!(taken(&[]).whole().is_none());
    }

    #[test]
    fn another_configuration_begins_anew() {
        let (first, second) = (frames(&aac(44_100), 0..100, 300), frames(&aac(48_000), 100..130, 300));
        let (config, kept, _) = taken(first.iter().chain(&second)).whole().unwrap();
        assert!(Arc::ptr_eq(&config, &second[0].config));
        assert_eq!(kept.len(), 30);
    }

    #[test]
    fn pictures_and_too_many_bytes_are_left_out() {
        let video = VideoConfig {
            codec: Codec::H264,
            record: Bytes::new(),
            width: 64,
            height: 64,
            codecs: "avc1.64001f".into(),
        };
        let mut picture = frames(&aac(48_000), 0..1, 9_000).remove(0);
        picture.config = Arc::new(Config::Video(video));
        let mut all = frames(&aac(48_000), 0..60, 300);
        all.insert(58, picture);
        assert_eq!(taken(&all).frames.len(), 49);
        let fat = taken(&frames(&aac(48_000), 0..60, 20_000));
        assert!(fat.bytes <= MOST_BYTES && fat.frames.len() == MOST_BYTES / 20_000, "{} bytes", fat.bytes);
        let mut opus = aac(48_000);
        if let Config::Audio(audio) = Arc::make_mut(&mut opus) {
            (audio.codec, audio.frame_samples) = (Codec::Opus, None);
        }
        // Empty packets say nothing of their length.
        assert_eq!(taken(&frames(&opus, 0..2_000, 0)).frames.len(), MOST_FRAMES);
    }
}
