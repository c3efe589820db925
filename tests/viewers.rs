//! Who watches, against the real server with a real publisher: HLS viewers are counted by the ids that their playlists give
//! them, and by nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use headwater::access::{PlayClaims, PlayLinks, PlaySecret};
use support::server::PATIENCE;
use support::{Answer, Client, Headwater, Show};

const COUNT: &str = "headwater_viewers{protocol=\"hls\"}";

/// One player: its multivariant playlist is read, the rest is asked for when it is told to.
struct Player {
    client: Client,
    media: String,
}

impl Player {
    async fn new(server: &Headwater, name: &str) -> Player {
        let index = server.index(name).await;
        assert_eq!(index.header("cache-control"), Some("private, no-store"));
        let text = index.text();
        let uri = text.lines().find(|line| line.starts_with("source.m3u8")).unwrap().to_owned();
        Player { client: Client::new(&server.http), media: format!("/live/{name}/{uri}") }
    }

    fn id(&self) -> &str {
        self.media.split_once("viewer=").unwrap().1
    }

    async fn ask(&self) -> Answer {
        self.client.get(&self.media).await.unwrap()
    }

    /// Follows the stream until dropped.
    async fn follow(self) {
        loop {
            let text = self.ask().await.text();
            let segments = text.lines().filter(|line| line.starts_with("#EXTINF")).count();
            let first = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap();
            let next = first.parse::<usize>().unwrap() + segments;
            self.client.get(&format!("{}&_HLS_msn={next}", self.media)).await.unwrap();
        }
    }
}

/// The value of one series, 0 if it is absent.
async fn series(server: &Headwater, name: &str) -> f64 {
    let text = server.admin("/metrics").await.text();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
}

async fn counted(server: &Headwater, wanted: f64) {
    let start = Instant::now();
    loop {
        let count = series(server, COUNT).await;
        if count == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{count} viewers instead of {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_players_behind_one_address_are_three_and_then_none() {
    let server = Headwater::start(&["--hls-segment-target", "1s"]).await;
    let _publisher = Show::default().publish(&server, "show");
    let mut players = tokio::task::JoinSet::new();
    for _ in 0..3 {
        players.spawn(Player::new(&server, "show").await.follow());
    }
    // Nobody: neither who has no id, nor who has one that this server never gave, nor who only looks at the index.
    let shared = server.get("/live/show/source.m3u8").await;
    let forged = server.get("/live/show/source.m3u8?viewer=AAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!((shared.status, forged.status), (200, 200));
    counted(&server, 3.0).await;
    assert_eq!(series(&server, "headwater_viewer_sessions_total{protocol=\"hls\"}").await, 3.0);
    // Players that vanish are gone some target durations later.
    players.shutdown().await;
    counted(&server, 0.0).await;
    assert!(series(&server, "headwater_viewer_seconds_total{protocol=\"hls\"}").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_given_the_same_bytes() {
    let server = Headwater::start(&[]).await;
    let publisher = Show { seconds: Some(4), ..Show::default() }.publish(&server, "show");
    let (one, other) = (Player::new(&server, "show").await, Player::new(&server, "show").await);
    assert_ne!(one.id(), other.id());
    // The end, which no longer changes.
    let ended = server.once("/live/show/source.m3u8", |answer| answer.text().contains("#EXT-X-ENDLIST")).await;
    let (first, second) = (one.ask().await, other.ask().await);
    for answer in [&first, &second] {
        assert_eq!(answer.body, ended.body);
        assert_eq!(answer.header("etag"), ended.header("etag"));
        assert!(answer.header("cache-control").unwrap().starts_with("public"));
    }
    assert!(!first.text().contains("viewer"), "{}", first.text());
    // Who comes back with the id of before is who they were.
    let index = server.get(&format!("/live/show/index.m3u8?viewer={}", one.id())).await.text();
    assert!(index.contains(&format!("source.m3u8?viewer={}", one.id())), "{index}");
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ids_the_multivariant_playlist_is_for_caches() {
    let server = Headwater::start(&["--hls-viewer-ids", "false"]).await;
    let _publisher = Show::default().publish(&server, "show");
    let index = server.index("show").await;
    assert!(!index.text().contains("viewer="), "{}", index.text());
    assert!(index.header("cache-control").unwrap().starts_with("public"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_link_plays_until_it_expires() {
    let server = Headwater::start(&["--access-private", "[\"show\"]"]).await;
    let _publisher = Show::default().publish(&server, "show");
    server.once("/live/show/index.m3u8", |answer| answer.status == 401 && answer.text().contains("private")).await;
    let links = PlayLinks::new(&PlaySecret::open(&server.data.path().join("data")).unwrap());
    let link = |seconds| {
        let claims = PlayClaims::new("show".parse().unwrap(), SystemTime::now() + Duration::from_secs(seconds));
        format!("/s/{}/live/show", links.sign(&claims))
    };
    let long = link(600);
    let index = server.once(&format!("{long}/index.m3u8"), |answer| answer.status == 200).await.text();
    let uri = index.lines().find(|line| line.starts_with("source.m3u8?viewer=")).unwrap();
    let playlist = server.get(&format!("{long}/{uri}")).await.text();
    let segment = playlist.lines().find(|line| line.ends_with(".m4s")).unwrap();
    assert_eq!(server.get(&format!("{long}/{segment}")).await.status, 200);
    assert_eq!(server.get(&format!("/live/show/{segment}")).await.status, 401);
    // Its end comes while it is watched.
    let short = link(2);
    let playing = server.get(&format!("{short}/{uri}")).await;
    assert_eq!(playing.status, 200, "{}", playing.text());
    let over = server.once(&format!("{short}/{uri}"), |answer| answer.status != 200).await;
    assert_eq!((over.status, over.text().contains("expired")), (403, true));
    assert_eq!(server.get(&format!("{short}/{segment}")).await.status, 403);
    assert_eq!(server.get(&format!("{long}/{uri}")).await.status, 200);
}
