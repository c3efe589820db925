//! Tests of the hub: who gets a name, for how long, and what readers hear of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;

use super::*;
use crate::hub::StreamState;
use crate::media::{Codec, Config, Frame, VideoConfig};

fn settings() -> Settings {
    Settings {
        takeover: Takeover::Newest,
        reconnect_window: Duration::from_secs(30),
        media_idle: Duration::from_secs(5),
        end_on_unpublish: true,
        max_streams: 2,
        stream_bytes: 1 << 20,
        process_bytes: 1 << 20,
        segment_target: Duration::from_secs(2),
        segment_max: Duration::from_secs(10),
        ladders: false,
    }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn source(port: u16) -> Source {
    Source { protocol: "rtmp", peer: ([127, 0, 0, 1], port).into(), client: "test".into(), key: None }
}

fn frame(ms: i64) -> Frame {
    let config = Config::Video(VideoConfig {
        codec: Codec::H264,
        record: Bytes::new(),
        width: 2,
        height: 2,
        codecs: String::new(),
    });
    let at = Time::from_millis(ms);
    Frame { dts: at, pts: at, key: true, cut: None, config: Arc::new(config), payload: Bytes::from_static(b"x") }
}

async fn started(events: &mut Cursor<Event>) -> Arc<Stream> {
    match events.next().await {
        Ok(Some(Event::Started(stream))) => stream.upgrade().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_newest_publisher_takes_the_name_and_the_loser_is_told() {
    let hub = Hub::new(settings());
    let mut first = hub.publish(&name("show"), source(1)).unwrap();
    first.push(frame(0)).unwrap();
    let mut second = hub.publish(&name("show"), source(2)).unwrap();
    assert_eq!(first.ended().await, Ended::TakenOver(source(2).peer));
    assert_eq!(first.push(frame(40)), Err(Ended::TakenOver(source(2).peer)));
    drop(first);
    second.push(frame(0)).unwrap();
    let stream = hub.stream("show").unwrap();
    assert_eq!((stream.state(), stream.status().sessions, stream.status().frames), (StreamState::Live, 2, 2));
}

#[test]
fn by_policy_the_older_publisher_stays() {
    let hub = Hub::new(Settings { takeover: Takeover::Reject, ..settings() });
    let _first = hub.publish(&name("show"), source(1)).unwrap();
    let refused = hub.publish(&name("show"), source(2)).unwrap_err();
    assert_eq!(refused, PublishError::Busy { name: "show".into(), by: source(1).peer });
}

#[tokio::test]
async fn a_vanished_publisher_is_waited_for_and_the_stream_goes_on() {
    let hub = Hub::new(settings());
    let mut events = hub.events();
    let mut publisher = hub.publish(&name("show"), source(1)).unwrap();
    publisher.push(frame(0)).unwrap();
    let stream = started(&mut events).await;
    drop(publisher);
    hub.sweep(Instant::now() + Duration::from_secs(29));
    assert_eq!(hub.stream("show").unwrap().state(), StreamState::Waiting);
    let mut again = hub.publish(&name("show"), source(2)).unwrap();
    again.push(frame(0)).unwrap();
    assert_eq!(hub.stream("show").unwrap().epoch(), stream.epoch());
    drop(again);
    hub.sweep(Instant::now() + Duration::from_secs(31));
    assert!(hub.stream("show").is_none());
    assert!(
        matches!(events.next().await, Ok(Some(Event::Ended(ended))) if std::ptr::eq(ended.as_ptr(), &raw const *stream))
    );
}

#[test]
fn a_goodbye_ends_the_stream_at_once_or_by_policy_waits() {
    for (policy, left) in [(true, false), (false, true)] {
        let hub = Hub::new(Settings { end_on_unpublish: policy, ..settings() });
        let mut publisher = hub.publish(&name("show"), source(1)).unwrap();
        publisher.push(frame(0)).unwrap();
        publisher.finish();
        assert_eq!(hub.stream("show").is_some(), left);
    }
}

#[tokio::test]
async fn a_ghost_frees_its_name() {
    let hub = Hub::new(settings());
    let mut ghost = hub.publish(&name("show"), source(1)).unwrap();
    hub.sweep(Instant::now() + Duration::from_secs(4));
    assert!(hub.stream("show").is_some());
    hub.sweep(Instant::now() + Duration::from_secs(6));
    assert_eq!(ghost.ended().await, Ended::Idle(5));
    hub.sweep(Instant::now() + Duration::from_secs(6));
    assert!(hub.stream("show").is_none(), "a name without media needs no window");
    assert!(hub.publish(&name("show"), source(2)).is_ok());
}

#[test]
fn a_publisher_that_sends_nothing_and_leaves_holds_no_name() {
    let hub = Hub::new(settings());
    drop(hub.publish(&name("show"), source(1)).unwrap());
    assert!(hub.stream("show").is_none());
}

#[test]
fn names_are_bounded_in_number() {
    let hub = Hub::new(settings());
    let _a = hub.publish(&name("a"), source(1)).unwrap();
    let _b = hub.publish(&name("b"), source(2)).unwrap();
    assert_eq!(hub.publish(&name("c"), source(3)).unwrap_err(), PublishError::Full(2));
    assert!(hub.publish(&name("a"), source(3)).is_ok(), "a takeover needs no further place");
}

#[tokio::test]
async fn a_drain_tells_everybody_and_takes_nobody() {
    let hub = Hub::new(settings());
    let mut publisher = hub.publish(&name("show"), source(1)).unwrap();
    publisher.push(frame(0)).unwrap();
    let stream = hub.stream("show").unwrap();
    let mut frames = stream.frames().cursor(From::Oldest);
    hub.drain();
    assert_eq!(publisher.ended().await, Ended::Draining);
    assert_eq!(hub.publish(&name("new"), source(2)).unwrap_err(), PublishError::Draining);
    assert!(frames.next().await.unwrap().is_some());
    assert!(frames.next().await.unwrap().is_none(), "readers get what is left, then the end");
}

#[test]
fn epochs_rise_and_are_never_given_twice() {
    let hub = Hub::new(settings());
    let epochs: Vec<u64> = (0..100).map(|_| hub.fresh_epoch()).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn an_ended_stream_leaves_no_memory_behind() {
    let hub = Hub::new(Settings { max_streams: 1000, ..settings() });
    let _follower = hub.events();
    for number in 0..100 {
        let mut publisher = hub.publish(&name(&format!("show{number}")), source(1)).unwrap();
        publisher.push(frame(0)).unwrap();
        publisher.finish();
    }
    assert_eq!(hub.budget().used(), 0);
}

#[tokio::test]
async fn the_operator_ends_a_publisher_and_the_stream_waits() {
    let hub = Hub::new(settings());
    let mut publisher = hub.publish(&name("show"), source(1)).unwrap();
    publisher.push(frame(0)).unwrap();
    assert!(hub.kick("show", "rehearsal is over") && !hub.kick("show", "again") && !hub.kick("other", "nobody"));
    assert_eq!(publisher.ended().await.to_string(), "rehearsal is over");
    assert!(publisher.push(frame(40)).is_err());
    drop(publisher);
    assert_eq!(hub.stream("show").unwrap().state(), StreamState::Waiting);
    let mut back = hub.publish(&name("show"), source(2)).unwrap();
    back.push(frame(0)).unwrap();
    assert!(hub.finish("show", "the end") && !hub.finish("show", "the end"));
    assert_eq!(back.ended().await, Ended::Kicked("the end".to_owned()));
    drop(back);
    assert!(hub.stream("show").is_none());
}

#[tokio::test]
async fn publishers_of_a_key_that_is_gone_are_ended_and_no_others() {
    let hub = Hub::new(settings());
    let with = |key: &str| Source { key: Some(KeyId::new(key)), ..source(1) };
    let mut gone = hub.publish(&name("a"), with("old")).unwrap();
    let stays = hub.publish(&name("b"), with("new")).unwrap();
    let is_old = |key: &KeyId| key.as_str() == "old";
    assert_eq!((hub.end_keys(is_old), hub.end_keys(is_old)), (1, 0));
    assert_eq!(gone.ended().await, Ended::Revoked);
    assert_eq!(stays.has_ended(), None);
}
