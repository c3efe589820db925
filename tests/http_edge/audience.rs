//! Who watches, who is sent away, and who finds no room: by the ids that the playlists carry.

use std::net::SocketAddr;

use headwater::access::{Access, PlaySecret};
use headwater::events::Events;
use headwater::http::{Edge, Policy, Settings, Viewers};

use super::client::{Raw, Reply, get};
use super::double::Double;
use super::settings;

pub(crate) struct Scene {
    edge: Edge,
    pub(crate) double: Double,
    viewers: Viewers,
    events: Events,
}

impl Scene {
    fn new(policy: Policy) -> Scene {
        Scene::with(settings(), Access::default(), policy)
    }

    pub(crate) fn with(settings: Settings, access: Access, policy: Policy) -> Scene {
        let (double, events) = (Double::new(), Events::new());
        let viewers = Viewers::new(policy, &PlaySecret::new([3; 32]), None, events.clone());
        let edge = Edge::start(settings, double.clone(), None, None, (access, viewers.clone())).unwrap();
        Scene { edge, double, viewers, events }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.edge.addr()
    }

    /// A new player's address of the media playlist.
    async fn player(&self) -> String {
        let index = get(self.addr(), "/live/show/index.m3u8", "").await;
        assert_eq!(index.header("cache-control"), "private, no-store");
        let uri = index.text().lines().last().unwrap().to_owned();
        assert!(uri.starts_with("video.m3u8?viewer="), "{uri}");
        format!("/live/show/{uri}")
    }

    pub(crate) fn watching(&self) -> u64 {
        self.viewers.count("show").hls
    }
}

pub(crate) fn refused(reply: &Reply, status: u16, why: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.text().contains(why), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn each_id_is_one_viewer_and_what_it_says_of_itself_is_known() {
    let scene = Scene::new(Policy::default());
    let (first, second) = (scene.player().await, scene.player().await);
    assert_eq!(scene.watching(), 0, "who has only looked at the index watches nothing");
    let agent = format!("User-Agent: {}\r\n", "x".repeat(500));
    for url in [&first, &first, &second, &format!("{first}&_HLS_msn=7")] {
        assert_eq!(get(scene.addr(), url, &agent).await.status, 200);
    }
    for url in ["/live/show/video.m3u8", "/live/show/video.m3u8?viewer=", "/live/show/video.m3u8?viewer=%00"] {
        assert_eq!(get(scene.addr(), url, "").await.status, 200);
    }
    assert_eq!(scene.watching(), 2);
    let (page, total) = scene.viewers.list(Some("show"), 1, 10);
    assert_eq!((page.len(), total), (1, 2));
    let found = &scene.viewers.list(None, 0, 1).0[0];
    assert_eq!((found.client.len(), &*found.rendition, found.peer.is_loopback()), (128, "video", true));
    assert!(first.ends_with(&found.id));
    assert!(scene.viewers.list(Some("other"), 0, 10).0.is_empty());
    let joined = scene.events.last(Some("show"), 10);
    assert_eq!(joined.len(), 2);
    assert!(joined.iter().all(|event| event.kind == "viewer.joined" && event.data["peer"] == "127.0.0.1"));
}

#[tokio::test]
async fn who_is_sent_away_hears_so_even_while_waiting() {
    let scene = Scene::new(Policy::default());
    let (url, other) = (scene.player().await, scene.player().await);
    let (_, id) = url.split_once("viewer=").unwrap();
    assert_eq!(get(scene.addr(), &other, "").await.status, 200);
    let mut waiting = Raw::connect(scene.addr()).await;
    waiting.say(&format!("GET {url}&_HLS_msn=8 HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    scene.double.waiting(1).await;
    assert_eq!(scene.watching(), 2);
    assert!(scene.viewers.kick(id) && !scene.viewers.kick(id));
    assert_eq!(scene.watching(), 1);
    scene.double.publish(8);
    refused(&waiting.reply(false).await, 403, "operator ended");
    refused(&get(scene.addr(), &url, "").await, 403, "operator ended");
    assert_eq!(get(scene.addr(), &other, "").await.status, 200);
    assert!(!scene.viewers.kick("nobody") && !scene.viewers.kick("AAAAAAAAAAAAAAAAAAAA"));
    let kinds: Vec<_> = scene.events.last(None, 10).iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["viewer.joined", "viewer.joined", "viewer.left"]);
}

#[tokio::test]
async fn a_stream_has_room_for_so_many() {
    let scene = Scene::new(Policy { per_stream: 2, ..Policy::default() });
    let players = [scene.player().await, scene.player().await, scene.player().await];
    for url in &players[..2] {
        assert_eq!(get(scene.addr(), url, "").await.status, 200);
    }
    let full = get(scene.addr(), &players[2], "").await;
    refused(&full, 503, "has its 2 viewers");
    assert_eq!(full.header("retry-after"), "10");
    // Who is in stays in; who hides is not let in either.
    assert_eq!(get(scene.addr(), &players[0], "").await.status, 200);
    refused(&get(scene.addr(), "/live/show/video.m3u8", "").await, 403, "begin at /live/show/index.m3u8");
    assert!(scene.viewers.kick(players[1].split_once("viewer=").unwrap().1));
    assert_eq!(get(scene.addr(), &players[2], "").await.status, 200);
}

#[tokio::test]
async fn an_address_has_room_for_so_many() {
    let scene = Scene::new(Policy { per_address: 1, ..Policy::default() });
    let players = [scene.player().await, scene.player().await];
    assert_eq!(get(scene.addr(), &players[0], "").await.status, 200);
    let full = get(scene.addr(), &players[1], "").await;
    refused(&full, 429, "from one address");
    assert_eq!(full.header("retry-after"), "10");
}

#[tokio::test]
async fn nobody_watches_what_is_not_there() {
    let scene = Scene::new(Policy::default());
    let url = scene.player().await.replace("video", "nothing");
    assert_eq!(get(scene.addr(), &url, "").await.status, 404);
    // Whose stream starts is there already: it waits.
    let later = scene.player().await.replace("video", "later");
    assert_eq!(get(scene.addr(), &later, "").await.status, 503);
    let (all, _) = scene.viewers.list(None, 0, 10);
    assert_eq!(all.iter().map(|viewer| &*viewer.rendition).collect::<Vec<_>>(), ["later"]);
    assert_eq!(scene.watching(), 1);
}
