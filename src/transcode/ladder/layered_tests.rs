//! A publisher's layer as a rung: segments of the source begin segments of the layer, and one that has no key frames where
//! they are needed is told from one that lost some.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;

use super::super::entry::Entry;
use super::*;
use crate::access::StreamName;
use crate::hub::{Budget, Hub, Pictures, Publisher, Rung, RungSpec, Settings, Source, Stream, Takeover};
use crate::media::{Codec, VideoConfig};
use crate::transcode::backlog::Backlog;

struct Scene {
    publisher: Publisher,
    source: Cursor<Frame>,
    entry: Entry,
    given: Cursor<Frame>,
    /// Numbers of the segments, and whether each begins with a key frame.
    segments: Vec<(u64, bool)>,
    backlog: Backlog,
}

fn hub() -> Hub {
    Hub::new(Settings {
        takeover: Takeover::Newest,
        reconnect_window: Duration::from_secs(30),
        media_idle: Duration::from_secs(5),
        end_on_unpublish: true,
        max_streams: 2,
        stream_bytes: 1 << 20,
        process_bytes: 1 << 20,
        segment_target: Duration::from_secs(1),
        segment_max: Duration::from_secs(4),
        ladders: true,
    })
}

fn picture(ms: i64, key: bool, config: &Arc<Config>) -> Frame {
    let at = Time::from_millis(ms);
    Frame { dts: at, pts: at, key, cut: None, config: config.clone(), payload: Bytes::from_static(b"picture") }
}

fn config(width: u32, height: u32) -> Arc<Config> {
    let record = Bytes::from(vec![height as u8]);
    Arc::new(Config::Video(VideoConfig { codec: Codec::H264, record, width, height, codecs: "avc1.42c01f".into() }))
}

fn next(cursor: &mut Cursor<Frame>) -> Option<Frame> {
    match cursor.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(frame)) => frame,
        _ => None,
    }
}

impl Scene {
    /// A source of 640x360 and its layer, whose clock is a millisecond early. `keys`: the layer's, each second.
    fn play(keys: impl Fn(i64) -> bool) -> (Scene, Arc<Stream>, Result<(), &'static str>) {
        let hub = hub();
        let name = StreamName::new("show").unwrap();
        let source = Source { protocol: "whip", peer: ([127, 0, 0, 1], 1).into(), client: "test".into(), key: None };
        let mut publisher = hub.publish(&name, source).unwrap();
        publisher.expect_layers(&["high".to_owned(), "low".to_owned()]);
        let (high, low) = (config(640, 360), config(320, 180));
        publisher.push(picture(5_000, true, &high)).unwrap();
        publisher.push_layer(0, true, picture(5_000, true, &high));
        publisher.push_layer(1, false, picture(4_999, true, &low));
        let stream = hub.stream("show").unwrap();
        let layer = stream.layers_below().pop().unwrap();
        assert_eq!((layer.name(), stream.lead().unwrap().name()), ("low", "high"));
        let pictures =
            Pictures { width: 320, height: 180, frame_rate: None, bitrate: 1, level: 31, codecs: "avc1".into() };
        let spec = RungSpec { name: "180p".into(), pictures: Some(pictures), sound: None };
        let rung = Arc::new(Rung::new(spec, 1 << 20, &Budget::new(1 << 20)));
        let mut scene = Scene {
            publisher,
            source: stream.frames().cursor(From::Oldest),
            given: rung.frames().cursor(From::Oldest),
            segments: Vec::new(),
            entry: Entry::new(rung, Some(Layered::new(layer)), 25.0),
            backlog: Backlog::new(1 << 20, Budget::new(1 << 20).take(0)),
        };
        let mut outcome = scene.follow();
        for at in 1..250 {
            let (ms, key) = (5_000 + at * 40, at % 25 == 0);
            // The smaller pictures come first.
            scene.publisher.push_layer(1, false, picture(ms - 1, key && keys(at / 25), &low));
            scene.publisher.push(picture(ms, key, &high)).unwrap();
            scene.publisher.push_layer(0, true, picture(ms, key, &high));
            outcome = outcome.and_then(|()| scene.follow());
        }
        (scene, stream, outcome)
    }

    fn follow(&mut self) -> Result<(), &'static str> {
        let mut outcome = Ok(());
        while let Some(frame) = next(&mut self.source) {
            self.backlog.push(&frame);
            self.entry.take(&frame);
            if !self.entry.track.is_begun() {
                self.entry.begin(&self.backlog.cuts(), &self.backlog);
            }
            outcome = outcome.and_then(|()| self.entry.follow_layer(frame.pts));
        }
        while let Some(frame) = next(&mut self.given) {
            self.segments.extend(frame.cut.map(|cut| (cut.msn, frame.key)));
        }
        outcome
    }
}

#[test]
fn a_layer_has_the_segments_of_its_source() {
    let (scene, _stream, outcome) = Scene::play(|_| true);
    assert_eq!(outcome, Ok(()));
    assert_eq!(scene.segments, (0..10).map(|msn| (msn, true)).collect::<Vec<_>>());
    assert!(!scene.entry.is_made() && scene.entry.order(0).is_none());
}

#[test]
fn a_key_frame_that_was_lost_costs_a_segment_and_no_more() {
    let (scene, _stream, outcome) = Scene::play(|second| second != 4);
    assert_eq!(outcome, Ok(()));
    let segments = scene.segments;
    assert!(segments.iter().all(|(msn, key)| *key && *msn != 4), "{segments:?}");
    assert_eq!(segments.len(), 9);
}

#[test]
fn a_layer_without_the_sources_key_frames_is_no_rung() {
    let (scene, _stream, outcome) = Scene::play(|second| second < 3);
    assert!(outcome.is_err());
    assert!(scene.segments.iter().all(|(_, key)| *key), "nothing that no decoder can begin with was given out");
}
