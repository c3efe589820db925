//! Who may watch what is not for everybody: signed links, keys, and the pages that may play.

use std::time::{Duration, SystemTime};

use headwater::access::{self, Access, KeyGrant, NewKey, PlayClaims};
use headwater::events::Events;
use headwater::http::{Policy, Settings};

use super::audience::{Scene, refused};
use super::client::{Raw, get};
use super::settings;

const INDEX: &str = "/live/show/index.m3u8";
const VIDEO: &str = "/live/show/video.m3u8";
const SEGMENT: &str = "/live/show/1/video/7.m4s";

/// `show` is for those alone who show that they may watch it.
fn private() -> Access {
    let policy = access::Policy { private: vec!["show".parse().unwrap()], ..access::Policy::default() };
    let settings = access::Settings { policy, ..access::Settings::default() };
    Access::open(settings, Events::new()).unwrap()
}

fn scene(access: &Access, policy: Policy) -> Scene {
    Scene::with(settings(), access.clone(), policy)
}

fn without_ids() -> Policy {
    Policy { ids: false, ..Policy::default() }
}

fn soon() -> SystemTime {
    SystemTime::now() + Duration::from_secs(600)
}

fn claims() -> PlayClaims {
    PlayClaims::new("sh*".parse().unwrap(), soon())
}

#[tokio::test]
async fn a_private_stream_says_what_is_missing() {
    let scene = scene(&private(), without_ids());
    for path in [INDEX, VIDEO, SEGMENT, "/live/show/poster.jpg"] {
        let reply = get(scene.addr(), path, "").await;
        refused(&reply, 401, "private: ask whoever runs it for a link");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"headwater\"");
        let wrong = get(scene.addr(), path, "Authorization: Bearer wrong\r\n").await;
        refused(&wrong, 403, "does not open the stream");
    }
    assert_eq!(get(scene.addr(), "/watch/show", "").await.status, 200, "the page itself says why it does not play");
}

#[tokio::test]
async fn a_link_opens_all_that_is_below_it() {
    let access = private();
    let scene = scene(&access, Policy::default());
    let link = format!("/s/{}", access.sign_play(&claims()));
    let index = get(scene.addr(), &format!("{link}{INDEX}"), "").await;
    let uri = index.text().lines().last().unwrap().to_owned();
    assert!(uri.starts_with("video.m3u8?viewer="), "relative to the link: {uri}");
    let playlist = get(scene.addr(), &format!("{link}/live/show/{uri}"), "").await;
    assert_eq!((playlist.status, playlist.header("cache-control")), (200, "public, max-age=1"));
    assert_eq!(scene.watching(), 1);
    let segment = get(scene.addr(), &format!("{link}{SEGMENT}"), "").await;
    assert_eq!(segment.status, 200);
    let age = segment.header("cache-control").strip_prefix("public, max-age=").and_then(|rest| rest.split(',').next());
    assert!(age.is_some_and(|age| (500..=600).contains(&age.parse::<u64>().unwrap())), "{age:?}");
    for path in ["/watch/show", "/embed/show", "/live/show/poster.jpg"] {
        assert_eq!(get(scene.addr(), &format!("{link}{path}"), "").await.status, 200, "{path}");
    }
    for path in ["/", "/publish/show", "/healthz", "/s/again/watch/show"] {
        assert_eq!(get(scene.addr(), &format!("{link}{path}"), "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_link_is_for_its_stream_its_time_and_its_address() {
    let access = private();
    let scene = scene(&access, without_ids());
    let ask = async |claims: &PlayClaims, path: &str| {
        get(scene.addr(), &format!("/s/{}{path}", access.sign_play(claims)), "").await
    };
    let over = PlayClaims { expires: SystemTime::now() - Duration::from_secs(1), ..claims() };
    let other = PlayClaims::new("other".parse().unwrap(), soon());
    let away = PlayClaims { address: Some([203, 0, 113, 7].into()), ..claims() };
    let home = PlayClaims { address: Some([127, 0, 0, 1].into()), ..claims() };
    for path in [INDEX, VIDEO, SEGMENT] {
        refused(&ask(&over, path).await, 403, "expired");
        refused(&ask(&other, path).await, 403, "another stream");
        refused(&ask(&away, path).await, 403, "another address");
        let reply = ask(&home, path).await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("cache-control").starts_with("private, "), "{path} is for one address");
    }
    let mut forged = access.sign_play(&claims());
    forged.pop();
    refused(&get(scene.addr(), &format!("/s/{forged}{INDEX}"), "").await, 403, "does not open");
}

#[tokio::test]
async fn a_key_opens_too_and_what_it_opened_ends_with_it() {
    let access = private();
    let scene = scene(&access, without_ids());
    let new = || NewKey { stream: Some("show".parse().unwrap()), grant: KeyGrant::Play, label: String::new() };
    let made = access.make_key(new()).await.unwrap();
    let header = format!("Authorization: Bearer {}\r\n", made.secret.reveal());
    let reply = get(scene.addr(), VIDEO, &header).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "private, max-age=1"));
    assert_eq!(get(scene.addr(), &format!("{SEGMENT}?token={}", made.secret.reveal()), "").await.status, 200);
    // A link in the name of the key, and a request that is held when the key is taken away.
    let link = access.sign_play(&PlayClaims { key: Some(made.key.id.clone()), ..claims() });
    let mut waiting = Raw::connect(scene.addr()).await;
    waiting.say(&format!("GET /s/{link}{VIDEO}?_HLS_msn=8 HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    scene.double.waiting(1).await;
    access.revoke_key(&made.key.id).await.unwrap();
    scene.double.publish(8);
    refused(&waiting.reply(false).await, 403, "withdrawn");
    for path in [INDEX, VIDEO, SEGMENT] {
        refused(&get(scene.addr(), &format!("/s/{link}{path}"), "").await, 403, "withdrawn");
        refused(&get(scene.addr(), path, &header).await, 403, "does not open");
    }
}

#[tokio::test]
async fn a_link_is_for_so_many_viewers() {
    let access = private();
    let scene = scene(&access, Policy::default());
    let link = access.sign_play(&PlayClaims { sessions: 1, ..claims() });
    let player = async || {
        let index = get(scene.addr(), &format!("/s/{link}{INDEX}"), "").await;
        format!("/s/{link}/live/show/{}", index.text().lines().last().unwrap())
    };
    let (first, second) = (player().await, player().await);
    assert_eq!(get(scene.addr(), &first, "").await.status, 200);
    refused(&get(scene.addr(), &second, "").await, 429, "1 viewers at a time may use this link");
    refused(&get(scene.addr(), &format!("/s/{link}{VIDEO}"), "").await, 403, "begin at /live/show/index.m3u8");
    assert_eq!(get(scene.addr(), &first, "").await.status, 200);
}

#[tokio::test]
async fn streams_are_played_on_listed_sites_alone() {
    let listed = Settings { referrers: vec!["example.org".to_owned()], ..settings() };
    let scene = Scene::with(listed, Access::default(), without_ids());
    let ask = async |path: &str, header: &str| get(scene.addr(), path, header).await;
    for path in [INDEX, VIDEO, "/embed/show"] {
        for header in ["", "Referer: https://example.org/page\r\n", "Origin: https://example.org\r\n"] {
            assert_eq!(ask(path, header).await.status, 200, "{path} {header}");
        }
        refused(&ask(path, "Referer: https://elsewhere.example/\r\n").await, 403, "not be played on this site");
        refused(&ask(path, "Origin: https://elsewhere.example\r\n").await, 403, "not be played on this site");
    }
    // A link to the watch page is welcome anywhere, and that page is ours.
    assert_eq!(ask("/watch/show", "Referer: https://elsewhere.example/\r\n").await.status, 200);
    assert_eq!(ask(INDEX, "Referer: http://localhost/watch/show\r\n").await.status, 200);
    let strict = Settings { referrers: vec!["example.org".to_owned()], empty_referrer: false, ..settings() };
    let scene = Scene::with(strict, Access::default(), without_ids());
    refused(&get(scene.addr(), INDEX, "").await, 403, "send a Referer header");
}
