//! The doctor at work on streams of a hub: what is told to whom, and what a look costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::access::StreamName;
use crate::hub::{self, Publisher, Source, Takeover};
use crate::media::{Codec, Config, Frame, VideoConfig};

fn hub(streams: usize) -> Hub {
    Hub::new(hub::Settings {
        takeover: Takeover::Newest,
        reconnect_window: Duration::from_secs(30),
        media_idle: Duration::from_secs(3600),
        end_on_unpublish: true,
        max_streams: streams,
        stream_bytes: 1 << 20,
        process_bytes: 1 << 30,
        segment_target: Duration::from_secs(2),
        segment_max: Duration::from_secs(10),
        ladders: false,
    })
}

fn doctor(hub: &Hub) -> Doctor {
    let limits = Limits { gop: Time::from_millis(4_000), segment_max: Time::from_millis(10_000) };
    Doctor::new(hub.clone(), limits, Events::new())
}

fn nobody() -> Contacts {
    Arc::new(HashMap::new)
}

/// A publisher of 25 pictures a second without sound.
struct Show {
    publisher: Publisher,
    config: Arc<Config>,
    gop: i64,
    number: i64,
}

impl Show {
    fn new(hub: &Hub, name: &str, gop: i64) -> Show {
        let config = Arc::new(Config::Video(VideoConfig {
            codec: Codec::H264,
            record: Bytes::from_static(&[1, 0x64, 0, 31, 0xff]),
            width: 640,
            height: 360,
            codecs: "avc1.64001f".into(),
        }));
        let source = Source { protocol: "rtmp", peer: ([127, 0, 0, 1], 1).into(), client: String::new(), key: None };
        let publisher = hub.publish(&StreamName::new(name).unwrap(), source).unwrap();
        Show { publisher, config, gop, number: 0 }
    }

    fn push(&mut self) {
        let at = Time::from_millis(40 * self.number);
        let key = self.number % self.gop == 0;
        let payload = Bytes::from_static(&[0; 2000]);
        self.publisher.push(Frame { dts: at, pts: at, key, cut: None, config: self.config.clone(), payload }).unwrap();
        self.number += 1;
    }
}

fn kinds(doctor: &Doctor) -> Vec<(&'static str, String)> {
    let events = doctor.shared.events.last(Some("show"), 100);
    events.iter().map(|event| (event.kind, event.data["code"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_told_to_everybody_and_ends_with_its_stream() {
    let (hub, stop) = (hub(1), CancellationToken::new());
    let doctor = doctor(&hub);
    let mut show = Show::new(&hub, "show", 150);
    let following = tokio::spawn(doctor.clone().follow(nobody(), stop.clone()));
    for _ in 0..20 * 25 {
        show.push();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let codes: Vec<&str> = doctor.findings("show").iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["gop_long", "sound_missing"]);
    assert_eq!(doctor.health("show"), Health::Warning);
    assert_eq!(doctor.health("another"), Health::Good);
    assert!(doctor.findings("another").is_empty());
    let advice = show.publisher.word().await.unwrap();
    assert!(advice.contains("OBS: Settings >"), "{advice}");
    let finding = |code: &str| ("doctor.finding", code.to_owned());
    let mut said = kinds(&doctor);
    said.sort();
    assert_eq!(said, [finding("gop_long"), finding("sound_missing")]);
    let json = serde_json::to_value(doctor.findings("show")).unwrap();
    assert_eq!(json[0]["severity"], "warning");
    assert!(json[0]["since_ms"].as_u64().unwrap() > 1_600_000_000_000 && json[0]["value"].as_f64().unwrap() > 4.0);

    show.publisher.finish();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(doctor.findings("show").is_empty());
    let cleared = kinds(&doctor).into_iter().filter(|(kind, _)| *kind == "doctor.cleared");
    assert_eq!(cleared.count(), 2);
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_publisher_keeps_what_was_found() {
    let (hub, stop) = (hub(1), CancellationToken::new());
    let doctor = doctor(&hub);
    let mut show = Show::new(&hub, "show", 150);
    let following = tokio::spawn(doctor.clone().follow(nobody(), stop.clone()));
    for _ in 0..12 * 25 {
        show.push();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    drop(show);
    let before = kinds(&doctor);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(kinds(&doctor), before, "no stall is told of a publisher that is gone");
    assert!(!doctor.findings("show").is_empty());
    stop.cancel();
    following.await.unwrap();
}

/// What 500 streams cost: printed, not asserted. Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_500_streams_cost() {
    let hub = hub(500);
    let doctor = doctor(&hub);
    let mut shows: Vec<Show> = (0..500).map(|n| Show::new(&hub, &format!("show{n}"), 50)).collect();
    shows.iter_mut().for_each(Show::push);
    let began = Instant::now();
    let mut ward = Ward { began, patients: HashMap::new() };
    hub.streams().iter().for_each(|stream| ward.admit(stream, doctor.shared.limits));
    let mut spent = Duration::ZERO;
    for look in 1..=300_u32 {
        // 77 frames a second, as of 30 pictures and 47 pieces of sound.
        let frames = if look % 10 < 7 { 8 } else { 7 };
        shows.iter_mut().for_each(|show| (0..frames).for_each(|_| show.push()));
        let start = std::time::Instant::now();
        let contacts = (look % LOOKS == 0).then(HashMap::new);
        doctor.round(&mut ward, began + LOOK * look, false, contacts.as_ref());
        spent += start.elapsed();
    }
    println!("500 streams: {:.2} % of a core", spent.as_secs_f64() / 30.0 * 100.0);
}
