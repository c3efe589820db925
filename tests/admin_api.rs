//! The admin API as programs and the admin page use it: identity, every call, what changes, and what is streamed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use support::http::{Answer, Client};
use support::publish::{Ffmpeg, Show};
use support::server::{ADMIN_TOKEN, Headwater, PATIENCE};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A stream that is live, and its publisher.
async fn live(server: &Headwater, key: &str) -> Ffmpeg {
    let publisher = Show::default().publish(server, key);
    assert_eq!(server.index(key.split('?').next().unwrap()).await.status, 200);
    publisher
}

/// A stream of server-sent events, line by line.
struct Listening(Lines<BufReader<TcpStream>>);

impl Listening {
    async fn to(server: &Headwater, url: &str, more: &str) -> Listening {
        let mut socket = TcpStream::connect(&server.admin).await.unwrap();
        let host = &server.admin;
        let request =
            format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n{more}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut listening = Listening(BufReader::new(socket).lines());
        assert!(listening.line().await.contains("200"), "{url}");
        listening
    }

    async fn line(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.0.next_line()).await.expect("a line comes").unwrap().expect("it goes on")
    }

    /// The data of the next event that is as wanted.
    async fn data(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line().await;
            let data = line.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap());
            if let Some(data) = data.filter(|data| wanted(data)) {
                return data;
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_answered_without_showing_who_it_is() {
    let server = Headwater::start(&[]).await;
    let client = Client::new(&server.admin);
    for url in ["/api/v1/streams", "/api/v1/keys", "/api/v1/events", "/api/v1/live", "/api/v1/audit"] {
        let answer = client.get(url).await.unwrap();
        assert_eq!(answer.status, 401, "{url}");
        assert!(value(&answer)["detail"].as_str().unwrap().contains("log in"), "{}", answer.text());
    }
    for url in ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(client.get(url).await.unwrap().status, 200, "{url}");
    }
    assert_eq!(server.admin("/api/v1/me").await.text(), r#"{"via":"token"}"#);
    assert_eq!(client.get("/api/v1/nothing").await.unwrap().status, 404);
    let put = client.send("PUT", "/api/v1/keys", &[], Bytes::new()).await.unwrap();
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, POST")));
}

#[tokio::test]
async fn a_browser_logs_in_and_other_sites_change_nothing() {
    let server = Headwater::start(&[]).await;
    let client = Client::new(&server.admin);
    let kind = ("content-type", "application/json");
    let login = async |token: &str| {
        let body = json!({ "token": token }).to_string();
        client.send("POST", "/api/v1/login", &headers(&[kind]), body.into()).await.unwrap()
    };
    assert_eq!(login("wrong-token-altogether").await.status, 401);
    let answer = login(ADMIN_TOKEN).await;
    assert_eq!(answer.status, 204);
    let set = answer.header("set-cookie").unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let cookie = set.split(';').next().unwrap();

    let by_cookie = headers(&[("cookie", cookie)]);
    assert_eq!(client.get_with("/api/v1/me", &by_cookie).await.unwrap().text(), r#"{"via":"cookie"}"#);
    let make = async |more: &[(&str, &str)]| {
        let all = [&[("cookie", cookie), kind], more].concat();
        client.send("POST", "/api/v1/keys", &headers(&all), r#"{"label":"x"}"#.into()).await.unwrap().status
    };
    assert_eq!(make(&[]).await, 403, "a form of another site sends the cookie alone");
    assert_eq!(make(&[("x-headwater", "1"), ("origin", "http://elsewhere.example")]).await, 403);
    assert_eq!(make(&[("x-headwater", "1")]).await, 201);

    let ours = headers(&[("cookie", cookie), ("x-headwater", "1")]);
    assert_eq!(client.send("POST", "/api/v1/logout", &ours, Bytes::new()).await.unwrap().status, 204);
    assert_eq!(client.get_with("/api/v1/me", &by_cookie).await.unwrap().status, 401);
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked() {
    let server = Headwater::start(&[]).await;
    let made = server.administer("POST", "/api/v1/keys", r#"{"stream":"show-*","label":"Ann"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = value(&made);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let listed = server.admin("/api/v1/keys").await.text();
    assert!(listed.contains(id) && listed.contains("Ann") && !listed.contains(secret));

    let mut publisher = live(&server, &format!("show-1?key={secret}")).await;
    let rotated = value(&server.administer("POST", &format!("/api/v1/keys/{id}/rotate"), "").await);
    assert_ne!(rotated["secret"].as_str().unwrap(), secret);
    // What the old one opened ends.
    publisher.process.exit(PATIENCE).await;

    let id = rotated["id"].as_str().unwrap();
    assert_eq!(server.administer("DELETE", &format!("/api/v1/keys/{id}"), "").await.status, 204);
    assert_eq!(server.administer("DELETE", &format!("/api/v1/keys/{id}"), "").await.status, 404);
    let audit = value(&server.admin("/api/v1/audit").await);
    let actions: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.revoke", "key.revoke", "key.rotate", "key.make"]);
    assert!(!audit.to_string().contains(secret));
}

#[tokio::test]
async fn a_stream_is_shown_marked_kicked_and_ended() {
    let server = Headwater::start(&["--hub-reconnect-window", "60s"]).await;
    let mut rows = Listening::to(&server, "/api/v1/live", "").await;
    let mut events = Listening::to(&server, "/api/v1/events?stream=show", "").await;
    let mut publisher = live(&server, "show").await;

    let row = rows.data(|data| data["rows"][0]["state"] == "live" && data["rows"][0]["bitrate"] != 0).await;
    assert_eq!((&row["rows"][0]["name"], &row["rows"][0]["protocol"]), (&json!("show"), &json!("rtmp")), "{row}");
    let shown = value(&server.admin("/api/v1/streams/show").await);
    assert_eq!((&shown["state"], &shown["health"]), (&json!("live"), &json!("good")), "{shown}");
    assert_eq!(shown["tracks"][0]["kind"], "video");
    assert!(shown["ingest"]["fps"].as_f64().unwrap() > 1.0, "{shown}");
    let history = value(&server.admin("/api/v1/streams/show/history").await);
    assert!(!history["samples"].as_array().unwrap().is_empty());
    let sessions = value(&server.admin("/api/v1/sessions?stream=show&protocol=rtmp").await);
    assert_eq!((&sessions["total"], &sessions["sessions"][0]["role"]), (&json!(1), &json!("publisher")), "{sessions}");

    let post = async |what: &str, body: &str| server.administer("POST", &format!("/api/v1/streams/{what}"), body).await;
    assert_eq!(post("show/mark", r#"{"text":"the goal"}"#).await.status, 204);
    assert_eq!(post("show/mark", r#"{"text":""}"#).await.status, 400);
    let marked = events.data(|event| event["kind"] == "stream.marked").await;
    assert_eq!(marked["data"]["text"], "the goal");
    assert_eq!(post("show/kick", "").await.status, 204);
    publisher.process.exit(PATIENCE).await;
    events.data(|event| event["kind"] == "publisher.gone").await;
    assert_eq!(post("show/kick", "").await.status, 409);
    let waiting = rows.data(|data| data["rows"][0]["state"] == "waiting").await;
    assert_eq!(waiting["rows"][0]["health"], "problem", "{waiting}");
    assert_eq!(post("show/end", "").await.status, 204);
    let over = events.data(|event| event["kind"] == "stream.over").await;
    rows.data(|data| data["gone"] == json!(["show"])).await;
    assert_eq!(post("show/end", "").await.status, 404);

    // Who comes back is given what it has missed.
    let id = marked["id"].as_u64().unwrap();
    let mut again = Listening::to(&server, "/api/v1/events?stream=show", &format!("Last-Event-ID: {id}\r\n")).await;
    again.data(|event| event["id"].as_u64().unwrap() > id && event["kind"] == "operator.stream.kick").await;
    again.data(|event| event["id"] == over["id"]).await;
}

#[tokio::test]
async fn links_open_what_is_private_and_viewers_are_sent_away() {
    let server = Headwater::start(&["--access-private", r#"["show"]"#]).await;
    let _publisher = Show::default().publish(&server, "show");
    let body = r#"{"stream":"show","expires_s":3600}"#;
    let link = value(&server.administer("POST", "/api/v1/play-urls", body).await);
    let url = link["url"].as_str().unwrap();
    let index = server.once(url, |answer| answer.status == 200).await.text();
    assert_eq!(server.get("/live/show/index.m3u8").await.status, 401);
    // A player asks for a media playlist, under the id that it was given.
    let playlist = index.lines().find(|line| line.starts_with("source.m3u8")).unwrap();
    let playlist = url.replace("index.m3u8", playlist);
    assert_eq!(server.get(&playlist).await.status, 200);
    let sessions = value(&server.admin("/api/v1/sessions?protocol=hls").await);
    assert_eq!((&sessions["total"], &sessions["sessions"][0]["stream"]), (&json!(1), &json!("show")), "{sessions}");
    let shown = value(&server.admin("/api/v1/streams/show").await);
    assert_eq!(shown["viewers"], json!({ "hls": 1, "low_latency": 0, "whep": 0, "peak": 1 }));
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    assert_eq!(server.administer("DELETE", &format!("/api/v1/sessions/{id}"), "").await.status, 204);
    let refused = server.get(&playlist).await;
    assert!(matches!(refused.status, 403 | 410), "{}: {}", refused.status, refused.text());
    for wrong in [r#"{"stream":"show","expires_s":0}"#, r#"{"stream":"a/b","expires_s":9}"#, "{", "{}"] {
        assert_eq!(server.administer("POST", "/api/v1/play-urls", wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_rung_is_held_on_and_off() {
    let flags = ["--transcode-rungs", r#"["90p:150k"]"#, "--transcode-mode", "rung", "--transcode-preset", "ultrafast"];
    let server = Headwater::start(&flags).await;
    let _publisher = live(&server, "show").await;
    let state = async |wanted: &str| {
        let start = std::time::Instant::now();
        loop {
            let shown = value(&server.admin("/api/v1/streams/show").await);
            let rungs = shown["ladder"]["rungs"].as_array().cloned().unwrap_or_default();
            if rungs.iter().any(|rung| rung["name"] == "90p" && rung["state"] == wanted) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "never {wanted}: {shown}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let order =
        async |order: &str| server.administer("POST", &format!("/api/v1/streams/show/rungs/{order}"), "").await.status;
    // Nobody watches.
    state("cold").await;
    assert_eq!(order("90p/start").await, 204);
    state("live").await;
    assert_eq!(order("90p/stop").await, 204);
    state("shed").await;
    assert_eq!(order("90p/auto").await, 204);
    state("cold").await;
    assert_eq!((order("90p/faster").await, order("91p/start").await), (400, 404));
}

#[tokio::test]
async fn a_configuration_is_shown_tried_and_changed() {
    let server = Headwater::start(&[]).await;
    let option = async |name: &str| {
        let shown = value(&server.admin("/api/v1/config").await);
        shown["options"].as_array().unwrap().iter().find(|option| option["name"] == name).unwrap().clone()
    };
    assert_eq!(option("hub.media_idle").await["value"], "5s");
    assert_eq!(option("admin.token").await["value"], "");
    let post = async |what: &str, changes: Value| {
        let body = json!({ "changes": changes }).to_string();
        value(&server.administer("POST", &format!("/api/v1/config/{what}"), &body).await)
    };
    let wrong = post("validate", json!({ "hub.media_idle": "soon", "hub.nothing": "1" })).await;
    assert_eq!((&wrong["ok"], wrong["errors"].as_array().unwrap().len()), (&json!(false), 2), "{wrong}");
    let tried = post("validate", json!({ "hub.media_idle": "7s", "server.threads": "3" })).await;
    let live: Vec<bool> = tried["diff"].as_array().unwrap().iter().map(|one| one["live"].as_bool().unwrap()).collect();
    assert_eq!(live.iter().filter(|live| **live).count(), 1, "{tried}");
    assert_eq!(option("hub.media_idle").await["value"], "5s", "what is tried changes nothing");
    let made = post("apply", json!({ "hub.media_idle": "7s" })).await;
    assert_eq!(made["applied"], json!(["hub.media_idle"]), "{made}");
    assert_eq!(option("hub.media_idle").await["value"], "7s");
    assert_eq!(post("apply", json!({ "hub.media_idle": null })).await["ok"], true);
    assert_eq!(option("hub.media_idle").await["value"], "5s");
}

#[tokio::test]
async fn the_operator_sends_the_server_home() {
    let mut server = Headwater::start(&[]).await;
    let shown = value(&server.admin("/api/v1/server").await);
    assert!(shown["memory_bytes"].as_u64().unwrap() > 1 << 20, "{shown}");
    let mut rows = Listening::to(&server, "/api/v1/live", "").await;
    rows.data(|_| true).await;
    assert_eq!(server.administer("POST", "/api/v1/drain", "").await.status, 202);
    assert!(server.process.exit(PATIENCE).await.success());
}

#[tokio::test]
async fn behind_a_proxy_nobody_is_this_machine() {
    let server = Headwater::start(&[]).await;
    let through = |more: &[(&str, &str)]| headers(&[more, &[("x-forwarded-for", "203.0.113.7")]].concat());
    let (viewers, admin) = (Client::new(&server.http), Client::new(&server.admin));
    // Without a key this machine alone may publish, and reads metrics without a token.
    let offer = [("content-type", "application/sdp")];
    let near = viewers.send("POST", "/whip/show", &headers(&offer), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(near.status, 400, "{}", near.text());
    let far = viewers.send("POST", "/whip/show", &through(&offer), Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(far.status, 401 | 403), "{}: {}", far.status, far.text());
    assert_eq!(admin.get("/metrics").await.unwrap().status, 200);
    assert_eq!(admin.get_with("/metrics", &through(&[])).await.unwrap().status, 401);
    // The name that the proxy is called by is passed on; who guesses tokens waits, and this machine does not.
    let guess = [("host", "admin.example"), ("authorization", "Bearer guess")];
    let mut last = 0;
    for _ in 0..20 {
        last = admin.get_with("/api/v1/me", &through(&guess)).await.unwrap().status;
    }
    assert_eq!(last, 429);
    let right = format!("Bearer {ADMIN_TOKEN}");
    assert_eq!(admin.get_with("/api/v1/me", &headers(&[("authorization", &right)])).await.unwrap().status, 200);
}
