//! Who comes and goes, with a clock made of numbers.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use super::super::id::Ids;
use super::*;
use crate::access::PlaySecret;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NONE: Limits = Limits { per_stream: 0, per_network: 0, elsewhere: (0, 0) };

struct Scene {
    table: Table,
    ids: Ids,
}

impl Scene {
    fn new() -> Scene {
        Scene { table: Table::new(), ids: Ids::new(&PlaySecret::new([7; 32])) }
    }

    fn join(&self, stream: &str, limits: &Limits, pass: Option<Pass>, now: u64) -> Result<Arc<Session>, Full> {
        let id = self.ids.make(stream).unwrap();
        let who = Newcomer { id, stream, peer: HOME, agent: "test", rendition: "video", pass };
        self.table.join(&who, limits, now).map(|(session, _)| session)
    }

    fn watching(&self, stream: &str) -> usize {
        self.table.audience(stream).map_or(0, |audience| audience.now.load(Relaxed))
    }
}

#[test]
fn a_session_lasts_while_it_asks_and_a_while_longer() {
    let scene = Scene::new();
    let session = scene.join("show", &NONE, None, 1_000).unwrap();
    scene.table.streams(|_| (0, Some(6_000)));
    session.begin("video", false, 1_000);
    // Held for as long as it takes.
    assert!(scene.table.sweep(60_000).is_empty());
    session.end(60_000);
    assert!(scene.table.sweep(66_000).is_empty());
    assert_eq!(scene.watching("show"), 1);
    assert_eq!(scene.table.sweep(66_001).len(), 1);
    assert_eq!((scene.watching("show"), scene.table.all(), scene.table.from(HOME)), (0, 0, 0));
    assert!(scene.table.find(&session.id).is_none());
}

#[test]
fn who_asks_ahead_is_counted_with_low_latency_until_it_no_longer_does() {
    let scene = Scene::new();
    let [first, second] = [0, 0].map(|now| scene.join("show", &NONE, None, now).unwrap());
    let counted = || {
        scene.table.sweep(10);
        scene.table.audience("show").unwrap().low_latency.load(Relaxed)
    };
    assert_eq!(counted(), 0);
    first.begin("video", true, 1);
    second.begin("video", true, 1);
    assert_eq!((counted(), counted()), (2, 2));
    second.begin("video", false, 2);
    assert_eq!(counted(), 1);
    scene.table.kick(&first.id, 3);
    assert_eq!(counted(), 0);
}

#[test]
fn one_id_is_one_session() {
    let scene = Scene::new();
    let session = scene.join("show", &NONE, None, 0).unwrap();
    let who = Newcomer { id: session.id, stream: "show", peer: HOME, agent: "", rendition: "audio", pass: None };
    assert!(!scene.table.join(&who, &NONE, 0).unwrap().1);
    session.begin("audio", false, 5);
    assert_eq!((scene.watching("show"), &*session.rendition()), (1, "audio"));
}

#[test]
fn limits_count_who_watches_in_any_way() {
    let scene = Scene::new();
    let two = Limits { per_stream: 3, per_network: 0, elsewhere: (1, 0) };
    scene.join("show", &two, None, 0).unwrap();
    scene.join("show", &two, None, 0).unwrap();
    assert_eq!(scene.join("show", &two, None, 0).unwrap_err(), Full::Stream(3));
    scene.join("other", &two, None, 0).unwrap();
    let near = Limits { per_stream: 0, per_network: 4, elsewhere: (0, 1) };
    assert_eq!(scene.join("third", &near, None, 0).unwrap_err(), Full::Network(4));
    assert_eq!(scene.watching("third"), 0);
    assert_eq!(scene.table.audience("show").unwrap().peak.load(Relaxed), 3);
}

#[test]
fn a_pass_is_for_so_many() {
    let scene = Scene::new();
    let pass = Some(Pass { tag: [1; 16], most: 1 });
    let first = scene.join("show", &NONE, pass, 0).unwrap();
    assert_eq!(scene.join("show", &NONE, pass, 0).unwrap_err(), Full::Pass(1));
    scene.join("show", &NONE, Some(Pass { tag: [2; 16], most: 1 }), 0).unwrap();
    assert!(scene.table.remove(&first) && !scene.table.remove(&first));
    scene.join("show", &NONE, pass, 0).unwrap();
}

#[test]
fn who_is_sent_away_is_not_counted_and_not_forgotten() {
    let scene = Scene::new();
    let session = scene.join("show", &NONE, None, 0).unwrap();
    session.begin("video", false, 0);
    assert!(scene.table.kick(&session.id, 1_000).is_some());
    assert!(scene.table.kick(&session.id, 1_000).is_none());
    assert_eq!((scene.watching("show"), scene.table.sessions(None).len()), (0, 0));
    session.end(2_000);
    assert!(scene.table.sweep(1_000 + BANISHED).is_empty());
    assert!(scene.table.find(&session.id).unwrap().is_kicked());
    assert!(scene.table.sweep(1_001 + BANISHED).is_empty());
    assert!(scene.table.find(&session.id).is_none());
}

#[test]
fn a_stream_that_is_over_is_forgotten_with_its_last_viewer() {
    let scene = Scene::new();
    let session = scene.join("show", &NONE, None, 0).unwrap();
    scene.table.streams(|_| (0, None));
    assert!(scene.table.audience("show").is_some());
    assert!(scene.table.remove(&session));
    scene.table.streams(|_| (0, None));
    assert!(scene.table.audience("show").is_none());
}
