//! The rule checker against the real server with a real publisher: no rule of RFC 8216bis, CMAF or the design may be
//! broken while publishers come, go, reconnect and change their codec.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use std::time::{Duration, Instant};

use checker::driver::{Outcome, Watch};
use support::{Headwater, Show};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_seconds() {
    // A short window, so that segments leave it and delta playlists have something to skip.
    let flags = ["--hls-segment-target", "1s", "--hls-window", "9s"];
    run("thirty seconds", &flags, &[Act::Play(11), Act::Kill, Act::Play(9), Act::Change, Act::Play(10)]).await;
}

/// Two reconnects and one change of codec parameters. Takes five minutes, so it runs when it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "five minutes"]
async fn five_minutes() {
    let acts = [Act::Play(90), Act::Kill, Act::Play(70), Act::Change, Act::Play(70), Act::Kill, Act::Play(70)];
    run("five minutes", &[], &acts).await;
}

enum Act {
    /// Go on for so many seconds.
    Play(u64),
    /// The publisher is killed and comes back.
    Kill,
    /// The publisher is killed and comes back with another picture size and profile.
    Change,
}

async fn run(what: &str, flags: &[&str], acts: &[Act]) {
    let server = Headwater::start(flags).await;
    let mut show = Show::default();
    let mut publisher = show.publish(&server, "rules");
    let (watch, outcome) = Watch::start(&server.http, "/live/rules/index.m3u8");
    for act in acts {
        match act {
            Act::Play(seconds) => {
                // The length of the watch is what is tested, so here time itself is awaited.
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                eprintln!("{what}: {} violations so far", watch.broken());
                continue;
            }
            Act::Kill => {}
            Act::Change => {
                show.size = Some((426, 240));
                show.profile = "baseline";
            }
        }
        publisher.process.kill().await;
        publisher = show.publish(&server, "rules");
    }
    // Goodbye, not a pulled cable: the stream ends, and the watch with it.
    publisher.process.signal("INT").await;
    let start = Instant::now();
    let outcome = tokio::time::timeout(Duration::from_secs(60), outcome).await;
    watch.stop();
    let outcome = outcome.expect("the stream ends within the reconnect window").unwrap();
    eprintln!("{what}: ENDLIST everywhere {:?} after the goodbye", start.elapsed());
    decodes(&outcome).await;
    outcome.assert_clean(what);
}

/// Everything that was fetched decodes without a word.
async fn decodes(outcome: &Outcome) {
    let folder = tempfile::tempdir().unwrap();
    for file in outcome.write(folder.path()) {
        let complaints = support::publish::decode(&file).await;
        assert!(complaints.trim().is_empty(), "{}: {complaints}", file.display());
    }
}
