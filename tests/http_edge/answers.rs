//! What is answered: playlists, media, pages, probes, and refusals with their reasons.

use std::io::Read;

use headwater::access::{self, Access, Secret};
use headwater::config::{Config, Control};
use headwater::events::Events;
use headwater::hls::Hls;
use headwater::http::{Admin, Edge, Parts, Reach};

use super::client::{Raw, get};
use super::{edge, settings};

const PLAYLIST: &str = "/live/show/video.m3u8";
const SEGMENT: &str = "/live/show/1/video/7.m4s";

#[tokio::test]
async fn playlists_come_as_text_or_gzip_and_are_revalidated() {
    let (edge, _double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    let text = raw.get(PLAYLIST, "").await;
    assert_eq!((text.status, text.text()), (200, "#EXTM3U\n#newest=7 skip=false plain=false\n"));
    for (name, value) in [
        ("content-type", "application/vnd.apple.mpegurl"),
        ("cache-control", "public, max-age=1"),
        ("vary", "Accept-Encoding"),
        ("access-control-allow-origin", "*"),
        ("timing-allow-origin", "*"),
    ] {
        assert_eq!(text.header(name), value, "{name}");
    }
    let zipped = raw.get(PLAYLIST, "Accept-Encoding: gzip, deflate, br\r\n").await;
    let mut unzipped = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut unzipped).unwrap();
    assert_eq!((zipped.header("content-encoding"), unzipped.as_str()), ("gzip", text.text()));
    assert_ne!(zipped.header("etag"), text.header("etag"));
    let known = raw.get(PLAYLIST, &format!("If-None-Match: {}\r\n", text.header("etag"))).await;
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, text.header("etag"), 0));
    let plain = raw.get("/live/show/video.m3u8?ll=0&_HLS_skip=YES&token=x", "").await;
    assert_eq!(plain.text(), "#EXTM3U\n#newest=7 skip=true plain=true\n");
    assert_eq!(raw.get("/live/show/index.m3u8?ll=0", "").await.text(), "#EXTM3U\n#plain=true\nvideo.m3u8\n");
    assert_eq!(raw.get("/live/show/index.m3u8", "").await.text(), "#EXTM3U\n#plain=false\nvideo.m3u8\n");
}

#[tokio::test]
async fn media_comes_whole_or_in_one_range() {
    let (edge, _double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    let whole = raw.get(SEGMENT, "").await;
    assert_eq!((whole.status, whole.text()), (200, "part one, part two, part three"));
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!((whole.header("content-type"), whole.header("accept-ranges")), ("video/mp4", "bytes"));
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "part", "bytes 0-3/30"),
        ("bytes=5-12", 206, "one, par", "bytes 5-12/30"),
        ("bytes=-5", 206, "three", "bytes 25-29/30"),
        ("bytes=20-", 206, "part three", "bytes 20-29/30"),
        ("bytes=30-", 416, "the range begins past the end: there are 30 bytes\n", "bytes */30"),
        ("bytes=0-1,4-5", 200, "part one, part two, part three", ""),
        ("pages=1", 200, "part one, part two, part three", ""),
    ] {
        let part = raw.get(SEGMENT, &format!("Range: {range}\r\n")).await;
        assert_eq!((part.status, part.text(), part.header("content-range")), (status, body, content_range), "{range}");
    }
    let tag = whole.header("etag");
    assert_eq!(raw.get(SEGMENT, &format!("If-None-Match: {tag}\r\n")).await.status, 304);
    assert_eq!(raw.get(SEGMENT, &format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n")).await.status, 206);
    assert_eq!(raw.get(SEGMENT, "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").await.status, 200);
}

#[tokio::test]
async fn head_says_the_length_and_sends_nothing() {
    let (edge, _double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    for (path, length) in [(SEGMENT, "30"), (PLAYLIST, "41"), ("/healthz", "3"), ("/nowhere", "27")] {
        raw.say(&format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nRange: bytes=0-0\r\n\r\n")).await;
        assert_eq!(raw.reply(true).await.header("content-length"), length, "{path}");
    }
    assert_eq!(raw.get("/healthz", "").await.text(), "ok\n");
}

#[tokio::test]
async fn pages_and_assets_are_served_with_their_fences() {
    let (edge, _double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    for (path, ancestors) in [("/", "'none'"), ("/watch/show", "'none'"), ("/embed/show", "*")] {
        let page = raw.get(path, "").await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").ends_with(&format!("frame-ancestors {ancestors}")), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        let tag = format!("If-None-Match: {}\r\n", page.header("etag"));
        assert_eq!(raw.get(path, &tag).await.status, 304, "{path}");
    }
    // Whether the page of a name exists does not depend on the name being on air.
    assert_eq!(raw.get("/watch/nobody", "").await.status, 200);
    assert_eq!(raw.get("/assets/none.js", "").await.status, 404);
    assert_eq!((raw.get("/healthz", "").await.status, raw.get("/readyz", "").await.text()), (200, "ready\n"));
}

#[tokio::test]
async fn refusals_say_why() {
    let (edge, _double) = edge(settings());
    let endless = format!("/{}", "x".repeat(3000));
    let unicode = "/live/\u{e9}t\u{e9}/index.m3u8";
    let long = format!("/live/{}/index.m3u8", "n".repeat(300));
    for (path, status, reason) in [
        ("/live/none/index.m3u8", 404, "no such stream"),
        ("/live/show/none.m3u8", 404, "no such rendition"),
        ("/live/show/later.m3u8", 503, "no segment yet"),
        ("/live/show/2/video/7.m4s", 404, "no such file"),
        ("/live/show/one/video/7.m4s", 404, "epoch"),
        ("/live/show/video.m3u8?_HLS_msn=99999999999999999999", 400, "_HLS_msn must be"),
        ("/live/show/video.m3u8?_HLS_msn=1000000000", 400, "too far"),
        ("/live/show/video.m3u8?_HLS_msn=-1", 400, "_HLS_msn must be"),
        ("/live/show/video.m3u8?_HLS_msn=1&_HLS_msn=2", 400, "twice"),
        ("/live/show/video.m3u8?_HLS_part=1", 400, "needs _HLS_msn"),
        ("/live/../../etc/passwd", 400, "dot segment"),
        ("/live/show/1/video/../../../x", 400, "dot segment"),
        ("/assets/..%2f..%2fCargo.toml", 400, "'%'"),
        ("/live/%2e%2e/index.m3u8", 400, "'%'"),
        ("/live/sho%77/index.m3u8", 400, "'%'"),
        (unicode, 400, "the path has"),
        (&long, 404, "64 are allowed"),
        (&endless, 414, "too long"),
        ("/nowhere", 404, "nothing"),
    ] {
        let reply = get(edge.addr(), path, "").await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.text().contains(reason), "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8", "{path}");
        if path.starts_with("/live/") {
            assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
        }
    }
    let later = get(edge.addr(), "/live/show/later.m3u8", "").await;
    assert_eq!((later.header("retry-after"), later.header("cache-control")), ("2", "public, max-age=1"));
}

#[tokio::test]
async fn other_methods_and_bodies_are_refused() {
    let (edge, _double) = edge(settings());
    for (request, status, header, value) in [
        (
            "POST /live/show/video.m3u8 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
            405,
            "allow",
            "GET, HEAD, OPTIONS",
        ),
        ("DELETE / HTTP/1.1\r\nHost: t\r\n\r\n", 405, "allow", "GET, HEAD, OPTIONS"),
        ("BREW / HTTP/1.1\r\nHost: t\r\n\r\n", 405, "allow", "GET, HEAD, OPTIONS"),
        ("GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999999\r\n\r\n", 413, "connection", "close"),
        (
            "GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            413,
            "connection",
            "close",
        ),
    ] {
        let mut raw = Raw::connect(edge.addr()).await;
        raw.say(request).await;
        let reply = raw.reply(false).await;
        assert_eq!((reply.status, reply.header(header)), (status, value), "{request}");
    }
    let mut raw = Raw::connect(edge.addr()).await;
    raw.say("OPTIONS /live/show/video.m3u8 HTTP/1.1\r\nHost: t\r\nOrigin: https://site.example\r\nAccess-Control-Request-Method: GET\r\n\r\n").await;
    let preflight = raw.reply(false).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, "GET, HEAD, OPTIONS"));
    assert!(preflight.header("access-control-allow-headers").contains("Range"));
}

#[tokio::test]
async fn only_listed_origins_read_streams() {
    let allowed = headwater::http::Settings { allow_origins: vec!["https://a.example".to_owned()], ..settings() };
    let (edge, _double) = edge(allowed);
    for (origin, allowed) in [("https://a.example", "https://a.example"), ("https://b.example", "")] {
        let reply = get(edge.addr(), PLAYLIST, &format!("Origin: {origin}\r\n")).await;
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
        assert!(reply.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (edge, _double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    let paths = ["/healthz", SEGMENT, "/nowhere", PLAYLIST, "/readyz"];
    raw.say(&paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).concat()).await;
    let mut seen = Vec::new();
    for _ in paths {
        let reply = raw.reply(false).await;
        seen.push((reply.status, reply.body.len()));
    }
    assert_eq!(seen, [(200, 3), (200, 30), (404, 27), (200, 41), (200, 6)]);
}

/// An operator's listener beside an edge, with this token.
fn admin(edge: &Edge, token: &str) -> (Admin, tempfile::TempDir) {
    let (hub, data) = (super::hub(), tempfile::tempdir().unwrap());
    let events = Events::new();
    let policy = access::Policy { admin_token: Some(Secret::new(token)), ..access::Policy::default() };
    let settings = access::Settings { policy, ..access::Settings::default() };
    let parts = Parts {
        hls: Hls::new(hub.clone(), super::hls()),
        hub,
        transcoder: None,
        webrtc: None,
        access: Access::open(settings, events.clone()).unwrap(),
        viewers: super::watching().1,
        doctor: None,
        events,
        data: data.path().to_owned(),
        metrics_token: None,
        per_stream: 0,
        reach: Reach { public_url: String::new(), http_port: 8080, rtmp_port: 1935 },
        control: Control::fixed(Config::default(), Events::new()),
    };
    (Admin::start("127.0.0.1:0".parse().unwrap(), parts, edge).unwrap(), data)
}

#[tokio::test]
async fn the_operator_sees_metrics_health_and_streams() {
    let (edge, _double) = edge(settings());
    let (admin, _data) = admin(&edge, "the-admin-token-here");
    let mut raw = Raw::connect(admin.addr()).await;
    let token = "Authorization: Bearer the-admin-token-here\r\n";
    assert_eq!(raw.get("/api/v1/streams", token).await.text(), "{\"streams\":[],\"total\":0}");
    assert_eq!(raw.get("/api/v1/streams", "").await.status, 401);
    assert_eq!(raw.get("/healthz", "").await.text(), "ok\n");
    assert_eq!(raw.get("/metrics", "").await.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(raw.get("/readyz", "").await.status, 200);
    edge.readiness().end();
    assert_eq!(raw.get("/readyz", "").await.status, 503);
    assert_eq!(raw.get("/live/show/video.m3u8", "").await.status, 404);
}

#[tokio::test]
async fn the_operators_page_is_not_given_to_names_of_others() {
    let (edge, _double) = edge(settings());
    let (admin, _data) = admin(&edge, "the-admin-token-here");
    let mut raw = Raw::connect(admin.addr()).await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("127.0.0.1:8081", 200),
        ("[::1]:8081", 200),
        ("[::1]", 200),
        ("rebound.example", 421),
        ("rebound.example:8081", 421),
        ("localhost.rebound.example:8081", 421),
    ] {
        raw.say(&format!("GET /api/v1/openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(raw.reply(false).await.status, status, "{host}");
    }
}
