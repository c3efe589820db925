//! Tests of the rendition: playlists as they grow, slide and end, and what waiters get and when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::hls::segmenter::{Init, Part};
use crate::hub::Budget;
use crate::media::{Codec, Config, Cut, VideoConfig};

const PART: Time = Time::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    Plan { target_duration: 1, part_target: Time::from_millis(256), frame_rate: 24.0, video: true, audio: false }
}

fn rendition() -> Arc<Rendition> {
    let shared = Shared {
        epoch: 7,
        plan: plan(),
        began: SystemTime::UNIX_EPOCH,
        part_hold_back: Time::from_millis(768),
        window: Time::from_millis(10_000),
        positions: Mutex::new(vec![("audio".into(), (3, 1))]),
    };
    Arc::new(Rendition::new("source", Arc::new(shared), None, Budget::new(1 << 20).take(0)))
}

fn begin(msn: u64, discontinuity: bool) -> Output {
    let config = Arc::new(Config::Video(VideoConfig {
        codec: Codec::H264,
        record: Bytes::new(),
        width: 2,
        height: 2,
        codecs: String::new(),
    }));
    let start = Time::from_millis(msn as i64 * 1000);
    let bytes: &[u8] = if discontinuity { b"another" } else { b"init" };
    let bytes = Bytes::from_static(bytes);
    let init = (msn == 0 || discontinuity).then(|| Init { bytes, configs: vec![config] });
    Output::Begin { cut: Cut { msn, discontinuity, at: start, target_duration: Some(1) }, start, init }
}

fn part(text: &'static str) -> Output {
    let independent = text.starts_with('i');
    Output::Part(Part {
        bytes: Bytes::from_static(text.as_bytes()),
        duration: PART,
        independent,
        short: false,
        gap: false,
    })
}

/// Whole segments of four parts.
fn segments(rendition: &Rendition, numbers: std::ops::Range<u64>) {
    for msn in numbers {
        let parts = [part("i0"), part("p1"), part("p2"), part("p3")];
        rendition.append([begin(msn, false)].into_iter().chain(parts).chain([Output::Close]));
    }
}

async fn text(rendition: &Rendition, reload: Reload) -> String {
    String::from_utf8(rendition.playlist(reload).await.unwrap().text().to_vec()).unwrap()
}

fn next(msn: u64, part: u64) -> Reload {
    Reload { msn: Some(msn), part: Some(part), ..Reload::default() }
}

#[tokio::test(start_paused = true)]
async fn the_first_playlist_is_held_until_a_segment_is_whole() {
    let rendition = rendition();
    assert!(matches!(rendition.ready(PATIENCE).await, Err(Refusal::NotYet { .. })));
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { rendition.ready(PATIENCE).await }
    });
    rendition.append([begin(0, false), part("i0")].into_iter());
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    rendition.append([part("p1"), Output::Close].into_iter());
    assert_eq!(waiter.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_playlist_says_what_the_rules_ask() {
    let rendition = rendition();
    segments(&rendition, 0..2);
    rendition.append([begin(2, false), part("i0")].into_iter());
    let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,PART-HOLD-BACK=0.76800\n\
        #EXT-X-PART-INF:PART-TARGET=0.25600\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"7/source/init-0.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z\n\
        #EXT-X-PART:DURATION=0.25000,URI=\"7/source/0.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.25000,URI=\"7/source/0.1.m4s\"\n\
        #EXT-X-PART:DURATION=0.25000,URI=\"7/source/0.2.m4s\"\n\
        #EXT-X-PART:DURATION=0.25000,URI=\"7/source/0.3.m4s\"\n\
        #EXTINF:1.00000,\n7/source/0.m4s\n";
    let written = text(&rendition, Reload::default()).await;
    assert!(written.starts_with(expected), "{written}");
    let tail = "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:02.000Z\n\
        #EXT-X-PART:DURATION=0.25000,URI=\"7/source/2.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"7/source/2.1.m4s\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=3,LAST-PART=1\n";
    assert!(written.ends_with(tail), "{written}");
    let plain = text(&rendition, Reload { plain: true, ..Reload::default() }).await;
    assert!(plain.ends_with("#EXTINF:1.00000,\n7/source/1.m4s\n") && !plain.contains("PART"), "{plain}");
}

#[tokio::test]
async fn a_rendition_that_stands_still_says_how_far_the_others_went() {
    let rendition = rendition();
    segments(&rendition, 0..2);
    let ask = async || {
        let page = rendition.playlist(Reload::default()).await.unwrap();
        (page.etag().to_owned(), String::from_utf8(page.text().to_vec()).unwrap())
    };
    let go = |to| rendition.shared.positions.lock().unwrap()[0] = ("audio".into(), to);
    let (etag, text) = ask().await;
    assert!(text.ends_with("LAST-MSN=3,LAST-PART=1\n"), "{text}");
    // A part further is what the next page would say; the kept one serves on.
    go((3, 2));
    assert_eq!(ask().await.0, etag);
    go((3, 3));
    let (fresh, text) = ask().await;
    assert!(fresh != etag && text.ends_with("LAST-MSN=3,LAST-PART=3\n"), "{text}");
    // The segment may have had any number of parts after that.
    go((4, 0));
    assert!(ask().await.1.ends_with("LAST-MSN=4,LAST-PART=0\n"));
    go((4, 1));
    assert!(ask().await.1.ends_with("LAST-MSN=4,LAST-PART=0\n"));
    rendition.shared.positions.lock().unwrap().retain(|(name, _)| &**name != "audio");
    assert!(!ask().await.1.contains("RENDITION-REPORT:URI=\"audio"));
}

#[tokio::test]
async fn a_blocked_reload_is_answered_by_its_part_and_no_earlier() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { text(&rendition, next(1, 1)).await }
    });
    tokio::task::yield_now().await;
    rendition.append([begin(1, false), part("i0")].into_iter());
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    rendition.append([part("p1")].into_iter());
    assert!(waiter.await.unwrap().contains("1.1.m4s"));
}

#[tokio::test]
async fn a_part_beyond_the_end_of_its_segment_means_the_first_of_the_next() {
    let rendition = rendition();
    segments(&rendition, 0..2);
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { text(&rendition, next(1, 4)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    rendition.append([begin(2, false), part("i0")].into_iter());
    assert!(waiter.await.unwrap().contains("2.0.m4s"));
}

#[tokio::test]
async fn a_whole_segment_may_be_waited_for() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { text(&rendition, Reload { msn: Some(1), ..Reload::default() }).await }
    });
    rendition.append([begin(1, false), part("i0"), part("p1")].into_iter());
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    rendition.append([Output::Close].into_iter());
    assert!(waiter.await.unwrap().contains("7/source/1.m4s"));
}

#[tokio::test]
async fn the_hinted_part_is_held_and_then_given() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    rendition.append([begin(1, false), part("i0")].into_iter());
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { rendition.media("1.1.m4s").await.unwrap() }
    });
    tokio::task::yield_now().await;
    rendition.append([part("p1")].into_iter());
    assert_eq!(waiter.await.unwrap().chunks[0], "p1");
    assert!(matches!(rendition.media("1.5.m4s").await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn a_segment_is_the_run_of_its_parts() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    let media = rendition.media("0.m4s").await.unwrap();
    assert_eq!((media.chunks.concat(), media.length), (b"i0p1p2p3".to_vec(), 8));
    assert_eq!(rendition.media("init-0.mp4").await.unwrap().chunks[0], "init");
    for absent in ["init-1.mp4", "1.m4s", "0.9.m4s", "00.m4s", "+0.m4s", "x.m4s", "0.m4s.m4s", ""] {
        assert!(matches!(rendition.media(absent).await, Err(Refusal::NotFound(_))), "{absent}");
    }
}

#[tokio::test]
async fn absurd_directives_are_refused_and_kept_from_piling_up() {
    let rendition = rendition();
    segments(&rendition, 0..2);
    for absurd in [next(9, 0), next(u64::MAX, u64::MAX), next(2, 1000), Reload { part: Some(1), ..Reload::default() }] {
        assert!(matches!(rendition.playlist(absurd).await, Err(Refusal::BadRequest(_))), "{absurd:?}");
    }
    assert_eq!(rendition.lock().waiters.count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_ends_after_three_target_durations() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    let before = tokio::time::Instant::now();
    assert!(matches!(rendition.playlist(next(1, 0)).await, Err(Refusal::NotYet { .. })));
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn the_end_answers_everyone_and_is_said() {
    let rendition = rendition();
    segments(&rendition, 0..1);
    let waiter = tokio::spawn({
        let rendition = rendition.clone();
        async move { text(&rendition, next(1, 3)).await }
    });
    tokio::task::yield_now().await;
    rendition.end();
    let last = waiter.await.unwrap();
    assert!(last.ends_with("#EXT-X-ENDLIST\n") && !last.contains("PRELOAD-HINT"), "{last}");
}

#[tokio::test]
async fn the_window_slides_and_what_left_it_stays_for_a_while() {
    let rendition = rendition();
    segments(&rendition, 0..5);
    rendition.append([begin(5, true), part("i0"), Output::Close].into_iter());
    segments(&rendition, 6..30);
    let full = text(&rendition, Reload::default()).await;
    assert!(
        full.contains("#EXT-X-MEDIA-SEQUENCE:20\n") && full.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"),
        "{full}"
    );
    assert!(full.contains("#EXT-X-MAP:URI=\"7/source/init-1.mp4\""));
    assert_eq!(full.matches("#EXT-X-PART:").count(), 12, "parts of the last three seconds");
    assert!(rendition.media("10.m4s").await.is_ok(), "left the playlist, and may still be asked for");
    assert!(rendition.media("2.m4s").await.is_err());
    let held: usize = (0..30).filter_map(|msn| rendition.lock().window.segment(msn).map(|s| s.bytes)).sum();
    assert_eq!(rendition.lock().memory.bytes(), held);
}

#[tokio::test]
async fn a_delta_update_skips_what_is_older_than_six_targets() {
    let rendition = rendition();
    segments(&rendition, 0..10);
    let delta = text(&rendition, Reload { skip: true, ..Reload::default() }).await;
    let full = text(&rendition, Reload::default()).await;
    assert!(delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n#EXT-X-MAP"), "{delta}");
    assert!(delta.len() < full.len());
    assert!(full.ends_with(&delta[delta.find("#EXT-X-PROGRAM").unwrap()..]));
}

#[tokio::test]
async fn who_went_away_is_forgotten_when_places_are_short() {
    let mut waiters = Waiters::default();
    for _ in 0..MAX_WAITERS {
        drop(waiters.add((1, 1)).unwrap());
    }
    assert!(waiters.add((1, 1)).is_ok());
    assert_eq!(waiters.count, 1);
}

#[tokio::test]
async fn the_hint_foresees_the_end_of_a_regular_segment_and_of_no_other() {
    let hint = |rendition: &Rendition| rendition.lock().window.hint();
    let regular = rendition();
    segments(&regular, 0..3);
    let parts = || [part("i0"), part("p1"), part("p2"), part("p3")].into_iter();
    regular.append([begin(3, false)].into_iter().chain(parts().take(3)));
    assert_eq!(hint(&regular), (3, 3));
    regular.append(parts().skip(3));
    assert_eq!(hint(&regular), (4, 0));
    regular.append([part("p4")].into_iter());
    assert_eq!(hint(&regular), (3, 5), "this one is longer than those before it");
    regular.append([Output::Close].into_iter());
    // A break cuts segment 4 short: nothing is to be learnt from its length.
    regular.append([begin(4, false), part("i0"), Output::Close, begin(5, true), part("i0"), part("p1")].into_iter());
    assert_eq!(hint(&regular), (5, 2));
}

/// A rung beside a source that has eight segments.
fn beside(source: &Arc<Rendition>) -> Rendition {
    segments(source, 0..8);
    Rendition::new("360p", source.shared.clone(), Some(source.clone()), Budget::new(1 << 20).take(0))
}

fn numbers(text: &str, what: &str) -> Vec<u64> {
    let of = |line: &str| line.strip_suffix(".m4s").and_then(|line| line.rsplit('/').next()?.parse().ok());
    let gap = |before: &str| before.starts_with("#EXTINF");
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.windows(3).filter(|w| gap(w[1]) && (w[0] == "#EXT-X-GAP") == (what == "gaps"));
    found.filter_map(|w| of(w[2])).collect()
}

#[tokio::test]
async fn a_rung_lists_what_it_lacks_of_the_source_as_gaps() {
    let source = rendition();
    let rung = beside(&source);
    assert!(matches!(rung.playlist(Reload::default()).await, Err(Refusal::NotYet { .. })));
    segments(&rung, 6..8);
    let text = text(&rung, Reload::default()).await;
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{text}");
    assert_eq!((numbers(&text, "gaps"), numbers(&text, "media")), ((0..6).collect(), vec![6, 7]));
    assert!(matches!(rung.media("3.m4s").await, Err(Refusal::NotFound(_))));
    assert!(rung.media("6.m4s").await.is_ok());
}

#[tokio::test]
async fn a_segment_that_broke_off_is_a_gap_with_the_parts_it_has() {
    let source = rendition();
    let rung = beside(&source);
    segments(&rung, 4..5);
    rung.append([begin(5, false), part("i0"), Output::Close].into_iter());
    segments(&rung, 7..8);
    let text = text(&rung, Reload::default()).await;
    assert_eq!((numbers(&text, "gaps"), numbers(&text, "media")), (vec![0, 1, 2, 3, 5, 6], vec![4, 7]));
    assert!(text.contains("#EXT-X-PART:DURATION=0.25000,URI=\"7/360p/5.0.m4s\",INDEPENDENT=YES\n"), "{text}");
    assert_eq!(text.matches("GAP=YES").count(), 3, "{text}");
    assert_eq!(text.matches("#EXTINF:1.00000,").count(), 8);
    assert!(rung.media("5.0.m4s").await.is_ok() && rung.media("5.1.m4s").await.is_err());
    assert!(rung.media("5.m4s").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_rung_that_rested_is_held_until_it_is_made_again() {
    let source = rendition();
    let rung = Arc::new(beside(&source));
    segments(&rung, 0..3);
    rung.rest();
    assert_eq!(rung.lock().memory.bytes(), 0);
    let waiter = tokio::spawn({
        let rung = rung.clone();
        async move { rung.ready(Duration::from_secs(10)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    segments(&rung, 7..8);
    assert_eq!(waiter.await.unwrap(), Ok(()));
    // What a player knows from the source's playlist is not too far ahead for the rung.
    assert!(rung.playlist(next(7, 1)).await.is_ok());
    let text = text(&rung, Reload::default()).await;
    assert_eq!((numbers(&text, "gaps"), numbers(&text, "media")), ((0..7).collect(), vec![7]));
}
