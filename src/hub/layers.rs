//! The renditions that a publisher sends itself (simulcast): each layer's frames, on the timeline of the stream. The best
//! layer that comes is the stream's source as well. WebRTC viewers and the ladder read them. Knows nothing of cuts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Budget;
use super::log::{Log, Reader};
use crate::media::{Config, Frame, Time};

/// One layer.
#[derive(Debug)]
pub struct Layer {
    name: String,
    log: Log<Frame>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    config: Option<Arc<Config>>,
    last: Option<Time>,
    fed: Option<Instant>,
    /// Bytes since this time on the timeline, and bits a second before.
    bytes: u64,
    since: Time,
    bits: f64,
}

impl Layer {
    /// `name`: the publisher's own (RFC 8852 `rid`). Its log keeps at most `limit` bytes.
    pub(super) fn new(name: &str, limit: usize, budget: &Budget) -> Layer {
        Layer { name: name.to_owned(), log: Log::new(limit, budget), seen: Mutex::default() }
    }

    /// As its publisher names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens readers on its frames: pictures on the stream's timeline, without cuts.
    pub fn frames(&self) -> Reader<Frame> {
        self.log.reader()
    }

    /// How its pictures are decoded; None before the first.
    pub fn config(&self) -> Option<Arc<Config>> {
        self.seen().config.clone()
    }

    /// Width times height of its pictures; 0 before the first.
    pub fn pixels(&self) -> u64 {
        match self.seen().config.as_deref() {
            Some(Config::Video(video)) => u64::from(video.width) * u64::from(video.height),
            _ => 0,
        }
    }

    /// Bits a second, over about a second; 0 before that.
    pub fn bits(&self) -> f64 {
        self.seen().bits
    }

    /// Its pictures come: publishers leave layers out that their link does not carry.
    pub fn is_fresh(&self) -> bool {
        self.seen().fed.is_some_and(|fed| fed.elapsed() < STALE)
    }

    /// Appends a picture that has its place on the timeline. One that would run backwards is left out.
    pub(super) fn push(&self, frame: Frame) {
        {
            let mut seen = self.seen();
            if seen.last.is_some_and(|last| frame.dts <= last) {
                return;
            }
            seen.count(&frame);
        }
        self.log.push(frame);
    }

    /// No more pictures will come: the stream's epoch is over.
    pub(super) fn close(&self) {
        self.log.close();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn count(&mut self, frame: &Frame) {
        let pause = self.last.is_none_or(|last| (frame.dts - last).duration() > STALE);
        if pause {
            (self.since, self.bytes) = (frame.dts, 0);
        }
        let seconds = (frame.dts - self.since).seconds();
        if seconds >= 1.0 {
            self.bits = self.bytes as f64 * 8.0 / seconds;
            (self.since, self.bytes) = (frame.dts, 0);
        }
        self.bytes += frame.payload.len() as u64;
        self.last = Some(frame.dts);
        self.fed = Some(Instant::now());
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.config)) {
            self.config = Some(frame.config.clone());
        }
    }
}

/// Longer than between two pictures of any layer that still comes.
const STALE: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::media::{Codec, VideoConfig};
    use bytes::Bytes;

    fn picture(ms: i64) -> Frame {
        let config =
            VideoConfig { codec: Codec::H264, record: Bytes::new(), width: 320, height: 180, codecs: "avc1".into() };
        let at = Time::from_millis(ms);
        let payload = Bytes::from_static(&[0; 1_000]);
        Frame { dts: at, pts: at, key: ms == 0, cut: None, config: Arc::new(Config::Video(config)), payload }
    }

    #[test]
    fn its_rate_is_measured_and_it_never_runs_backwards() {
        let layer = Layer::new("h", 1 << 20, &Budget::new(1 << 20));
        assert!(!layer.is_fresh() && layer.config().is_none());
        (0..=50).for_each(|at| layer.push(picture(at * 40)));
        layer.push(picture(1_000));
        assert!(layer.is_fresh());
        assert_eq!(layer.bits(), 200_000.0);
        let mut cursor = layer.frames().cursor(super::super::From::Oldest);
        let mut last = Time::from_millis(-1);
        layer.close();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Ok(Some(frame))) = cursor.poll_next(&mut context) {
            assert!(frame.dts > last);
            last = frame.dts;
        }
        assert_eq!(last.millis(), 2_000);
    }
}
