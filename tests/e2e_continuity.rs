//! The show goes on: publishers that vanish, come back, are taken over, or fall silent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "checker/playlist.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod playlist;
mod support;

use std::time::Duration;

use playlist::{MILLI, Media};
use support::server::PATIENCE;
use support::{Headwater, Show};

/// Short segments, so that something is to be seen soon.
const QUICK: [&str; 2] = ["--hls-segment-target", "1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_comes_back_in_time_continues() {
    let server = Headwater::start(&QUICK).await;
    let mut publisher = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    let before = wait(&server, &path, |m| m.segments.len() >= 3).await;
    publisher.process.kill().await;
    let _again = Show::default().publish(&server, "show");
    let after = wait(&server, &path, |m| broken(m).is_some_and(|at| m.segments.len() > at + 2)).await;

    assert!(!after.ended);
    let at = broken(&after).unwrap();
    assert_eq!(after.segments.iter().filter(|s| s.discontinuity).count(), 1, "exactly one discontinuity");
    assert_eq!(after.discontinuities, Some(0));
    assert_eq!(after.sequence, before.sequence, "numbers go on");
    for (was, is) in before.segments.iter().zip(&after.segments) {
        assert_eq!((&was.uri, was.date, was.duration), (&is.uri, is.date, is.duration), "what was out stays");
    }
    let (last, first) = (&after.segments[at - 1], &after.segments[at]);
    let gap = first.date.unwrap() - (last.date.unwrap() + last.duration);
    assert!(gap >= -MILLI, "dates go on, and never back: {gap} ns");
    assert!(gap < 20_000 * MILLI, "the gap is as long as the publisher was away: {gap} ns");
    assert_eq!(folder(&last.uri), folder(&first.uri), "the epoch stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_stays_away_ends_the_stream() {
    let server = Headwater::start(&[QUICK[0], QUICK[1], "--hub-reconnect-window", "1s"]).await;
    let mut publisher = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    let before = wait(&server, &path, |m| m.segments.len() >= 2).await;
    publisher.process.kill().await;

    // Held, and answered by the end and not by a time-out.
    let ended = server.get(&format!("{path}?_HLS_msn={}", before.open.msn + 1)).await;
    assert!(ended.text().contains("#EXT-X-ENDLIST"), "{} {}", ended.status, ended.text());
    assert!(ended.at - ended.asked < Duration::from_secs(5), "held for {:?}", ended.at - ended.asked);
    let over = Media::parse(&ended.text());
    assert!(over.hints.is_empty() && over.open.parts.is_empty());
    for segment in &over.segments {
        let answer = server.get(&format!("/live/show/{}", segment.uri)).await;
        assert_eq!(answer.status, 200, "{} stays watchable", segment.uri);
    }

    let _again = Show::default().publish(&server, "show");
    let anew = wait(&server, &path, |m| !m.ended && !m.segments.is_empty()).await;
    assert_ne!(folder(&anew.segments[0].uri), folder(&over.segments[0].uri), "a new epoch");
    assert!(broken(&anew).is_none(), "nothing comes before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbye_ends_at_once() {
    let server = Headwater::start(&QUICK).await;
    let mut publisher = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    let before = wait(&server, &path, |m| m.segments.len() >= 2).await;
    let next = format!("{path}?_HLS_msn={}", before.open.msn + 1);
    let (ended, ()) = tokio::join!(server.get(&next), publisher.process.signal("INT"));
    assert!(ended.text().contains("#EXT-X-ENDLIST"), "{} {}", ended.status, ended.text());
    publisher.process.exit(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_takes_the_name_and_the_older_is_told() {
    let server = Headwater::start(&QUICK).await;
    let mut first = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    wait(&server, &path, |m| !m.segments.is_empty()).await;
    let mut second = Show::default().publish(&server, "show");
    let status = first.process.exit(PATIENCE).await;
    eprintln!("the older one ended with {status}: {}", first.process.output());
    let after = wait(&server, &path, |m| broken(m).is_some_and(|at| m.segments.len() > at + 1)).await;
    assert_eq!(after.segments.iter().filter(|s| s.discontinuity).count(), 1, "exactly one discontinuity");
    assert!(second.process.runs());
    assert!((server.metric("headwater_hub_takeovers_total").await - 1.0).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_stays_where_the_policy_says_so() {
    let server = Headwater::start(&[QUICK[0], QUICK[1], "--hub-takeover", "reject"]).await;
    let mut first = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    wait(&server, &path, |m| !m.segments.is_empty()).await;
    let mut second = Show::default().publish(&server, "show");
    let status = second.process.exit(PATIENCE).await;
    assert!(!status.success(), "{}", second.process.output());
    let after = wait(&server, &path, |m| m.segments.len() >= 4).await;
    assert!(first.process.runs() && broken(&after).is_none());
}

/// A publisher whose connection stands, but which sends nothing, as when a laptop sleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ghost_does_not_lock_the_name() {
    let flags = [QUICK[0], QUICK[1], "--hub-takeover", "reject", "--hub-media-idle", "1s"];
    let server = Headwater::start(&flags).await;
    let ghost = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    wait(&server, &path, |m| !m.segments.is_empty()).await;
    ghost.process.signal("STOP").await;
    let freed = server.process.line(Duration::from_secs(5), |line| line.contains("the name is freed").then_some(()));
    assert!(freed.await.is_some(), "nobody freed the name");
    let mut second = Show::default().publish(&server, "show");
    wait(&server, &path, |m| broken(m).is_some()).await;
    assert!(second.process.runs());
}

/// The media playlist at `path`, reloaded as players do until it is as wanted.
async fn wait(server: &Headwater, path: &str, wanted: impl Fn(&Media) -> bool) -> Media {
    let mut url = path.to_owned();
    let start = std::time::Instant::now();
    loop {
        let answer = server.get(&url).await;
        let media = Media::parse(&answer.text());
        if answer.status == 200 && wanted(&media) {
            return media;
        }
        assert!(start.elapsed() < PATIENCE, "{path} after {PATIENCE:?}: {} {}", answer.status, answer.text());
        url = if answer.status == 200 && !media.ended {
            format!("{path}?_HLS_msn={}&_HLS_part={}", media.open.msn, media.open.parts.len())
        } else {
            // There is nothing to be held for: the old epoch is over and the new one has not begun.
            tokio::time::sleep(Duration::from_millis(50)).await;
            path.to_owned()
        };
    }
}

/// Index of the first segment after a discontinuity.
fn broken(media: &Media) -> Option<usize> {
    media.segments.iter().position(|s| s.discontinuity)
}

fn folder(uri: &str) -> &str {
    uri.rsplit_once('/').map_or("", |(folder, _)| folder)
}
