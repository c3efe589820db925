//! The configuration of a running server is another one: by its file, by SIGHUP. What is different is seen in effect, what is
//! wrong changes nothing, and the show goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use std::path::PathBuf;

use checker::driver::Watch;
use support::rtmp::Session;
use support::server::PATIENCE;
use support::{Headwater, Show};
use tempfile::TempDir;

/// A server with a configuration file, and what it wrote so far.
struct House {
    server: Headwater,
    file: PathBuf,
    _folder: TempDir,
}

impl House {
    async fn start(text: &str) -> House {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("headwater.toml");
        std::fs::write(&file, text).unwrap();
        let server = Headwater::start(&["--config", file.to_str().unwrap()]).await;
        House { server, file, _folder: folder }
    }

    /// As an editor does it: the new file is put in the place of the old one.
    fn replace(&self, text: &str) {
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &self.file).unwrap();
    }

    /// A line with all of these texts, as soon as it is written.
    async fn says(&self, texts: &[&str]) -> String {
        let fits = |line: &str| texts.iter().all(|text| line.contains(text)).then(|| line.to_owned());
        let found = self.server.process.line(PATIENCE, fits).await;
        found.unwrap_or_else(|| panic!("no line with {texts:?}:\n{}", self.server.process.output()))
    }

    fn said(&self, text: &str) -> bool {
        self.server.process.output().contains(text)
    }

    /// How a publisher is answered.
    async fn publish(&self, key: &str) -> Result<Session, String> {
        Session::try_publish(self.rtmp(), key).await
    }

    fn rtmp(&self) -> &str {
        self.server.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live")
    }
}

const KEYS: &str = "[[access.keys]]\nstream = \"show\"\nsecret = \"first\"\n";

fn text(level: &str, takeover: &str, keys: &str) -> String {
    format!("[log]\nlevel = \"{level}\"\nformat = \"text\"\n[hub]\ntakeover = \"{takeover}\"\n{KEYS}{keys}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_different_is_taken_on_and_the_show_goes_on() {
    let house = House::start(&text("info", "newest", "")).await;
    let mut publisher = Show::default().publish(&house.server, "show?key=first");
    house.server.index("show").await;
    let (watch, outcome) = Watch::start(&house.server.http, "/live/show/index.m3u8");

    // By the file alone: another level, another policy, one more key.
    let more = "[[access.keys]]\nstream = \"other\"\nsecret = \"second\"\n";
    assert!(house.publish("other?key=second").await.is_err(), "there is no such key yet");
    house.replace(&text("info,headwater::rtmp=debug", "reject", more));
    house.says(&["configuration: hub.takeover: newest -> reject (at once)"]).await;
    house.says(&["configuration: log.level: info -> info,headwater::rtmp=debug (at once)"]).await;
    let keys = house.says(&["configuration: access.keys:"]).await;
    assert!(!keys.contains("first") && !keys.contains("second"), "{keys}");
    let refused = house.publish("show?key=first").await.expect_err("the first publisher stays");
    assert!(
        refused.contains("live already") || refused.contains("in use") || refused.contains("NetStream"),
        "{refused}"
    );
    drop(house.publish("other?key=second").await.expect("the new key opens its name"));
    // A line of that level: somebody came and left without a word.
    drop(tokio::net::TcpStream::connect(house.rtmp()).await.unwrap());
    house.says(&["DEBUG", "headwater::rtmp"]).await;

    // By a signal.
    std::fs::write(&house.file, text("info", "newest", "")).unwrap();
    house.server.process.signal("HUP").await;
    house.says(&["configuration: hub.takeover: reject -> newest (at once)"]).await;
    assert!(house.publish("other?key=second").await.is_err(), "the key is gone");

    // So long that every rule could be measured.
    let source = house.server.renditions("show").await.remove(0);
    house.server.once(&source, |answer| answer.text().matches("#EXTINF").count() >= 5).await;
    watch.stop();
    outcome.await.unwrap().assert_clean("show");
    assert!(publisher.process.runs(), "the publisher was disturbed: {}", publisher.process.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_is_refused_with_its_line_and_what_needs_a_restart_is_said() {
    let house = House::start("[hls]\nwindow = \"40s\"\n").await;
    house.replace("[hls]\nwindow = \"1s\"\n\n[hub]\ntakeovr = \"reject\"\n");
    house.says(&["the configuration is refused", "headwater.toml:5:1", "the nearest is hub.takeover"]).await;
    house.says(&["the configuration is refused", "headwater.toml:2:10: hls.window", "write at least 6s"]).await;
    house.says(&["the configuration stays as it was"]).await;

    house.replace("[hls]\nwindow = \"50s\"\n[server]\nthreads = 3\n[data]\ndir = \"./elsewhere\"\n");
    house.says(&["WARN", "configuration: server.threads: 0 -> 3 (after a restart: threads are made"]).await;
    house.says(&["WARN", "configuration: data.dir: ./data -> ./elsewhere (after a restart"]).await;
    house.says(&["INFO", "configuration: hls.window: 40s -> 50s (for streams that start from now on)"]).await;

    house.server.process.signal("HUP").await;
    house.says(&["the configuration is read again: nothing is different"]).await;
    // Flags win over the file, as they did at the start.
    house.replace("[hls]\nwindow = \"50s\"\n[server]\nthreads = 3\n[data]\ndir = \"./elsewhere\"\n[http]\nlisten = \"127.0.0.1:1\"\n[rtmp]\nhandshake_timeout = \"9s\"\n");
    house.says(&["configuration: rtmp.handshake_timeout: 10s -> 9s"]).await;
    assert!(!house.said("configuration: http.listen"));
}

/// Policies of streams, seen from outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_the_hub_and_packaging_change_between_two_shows() {
    let house = House::start("[hub]\nreconnect_window = \"1h\"\non_unpublish = \"wait\"\n").await;
    let first = Show::default().publish(&house.server, "show");
    let before = target(&house.server, "show").await;
    assert_eq!(before, "0.256");
    house.replace(
        "[hub]\nreconnect_window = \"1s\"\non_unpublish = \"end\"\n[hls]\npart_target = \"500ms\"\nlinger = \"0s\"\n",
    );
    house.says(&["hub.reconnect_window: 1h -> 1s (at once)"]).await;
    assert_eq!(target(&house.server, "show").await, before, "what a playlist promised holds to its end");
    drop(first);
    // Killed without a goodbye, it is waited for one second and not one hour.
    house.says(&["stream is over"]).await;
    let _second = Show::default().publish(&house.server, "again");
    assert_eq!(target(&house.server, "again").await, "0.5");
}

/// PART-TARGET of a stream, in seconds, as its playlist has it.
async fn target(server: &Headwater, name: &str) -> String {
    let renditions = server.renditions(name).await;
    let playlist = server.once(&renditions[0], |answer| answer.text().contains("PART-TARGET=")).await.text();
    let at = playlist.find("PART-TARGET=").unwrap() + "PART-TARGET=".len();
    let value: String = playlist[at..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    value.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A second server finds what the API would have set, and an operator may remove it by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_set_is_a_layer_of_its_own() {
    let house = House::start("[hls]\nwindow = \"40s\"\n").await;
    let overrides = data(&house).join("overrides.toml");
    std::fs::write(&overrides, "[hls]\nwindow = \"90s\"\n").unwrap();
    house.says(&["configuration: hls.window: 40s -> 90s"]).await;
    std::fs::write(&overrides, "[hls]\nwindow = \"soon\"\n").unwrap();
    house.says(&["the configuration is refused", "overrides.toml:2:10: hls.window: \"soon\" is no time"]).await;
    std::fs::remove_file(&overrides).unwrap();
    house.says(&["configuration: hls.window: 90s -> 40s"]).await;
}

fn data(house: &House) -> PathBuf {
    house.server.folder().join("data")
}
