//! Publishers of all kinds, each from its first packet to a viewer: how soon there is something to play, what ffprobe
//! sees of it, and whether any rule of LL-HLS was broken on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use checker::driver::Watch;
use support::publish::probe;
use support::{Headwater, Show};

/// What ffprobe must say of a picture of the default size, and of the default sound.
const PICTURE: &str = "codec_name=h264|codec_type=video|width=320|height=180";
const SOUND: &str = "codec_name=aac|codec_type=audio|sample_rate=48000|channels=2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_x264_zerolatency() {
    plays("live", Show::default(), &[PICTURE, SOUND], 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b_frames() {
    plays("b-frames", Show { b_frames: 2, ..Show::default() }, &[PICTURE, SOUND], 8).await;
}

/// OBS's key frame interval `auto`: 250 frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_frame_every_250_frames() {
    plays("long-gop", Show { gop: 250, ..Show::default() }, &[PICTURE, SOUND], 20).await;
}

/// As an encoder with scene detection sets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_frames_at_odd_times() {
    const TIMES: &[f64] = &[1.3, 2.4, 3.1, 4.9, 5.2, 6.8, 8.7, 9.3, 11.4, 12.2, 13.9, 14.6, 16.3, 17.1];
    plays("odd", Show { gop: 250, keys_at: TIMES, ..Show::default() }, &[PICTURE, SOUND], 14).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mono_at_44100() {
    let sound = "codec_name=aac|codec_type=audio|sample_rate=44100|channels=1";
    plays("mono", Show { sound: Some((44_100, 1)), ..Show::default() }, &[PICTURE, sound], 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_alone() {
    plays("radio", Show { size: None, ..Show::default() }, &[SOUND], 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn picture_alone() {
    plays("silent", Show { sound: None, ..Show::default() }, &[PICTURE], 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_frames_a_second() {
    plays("pal", Show { rate: 25, gop: 50, ..Show::default() }, &[PICTURE, SOUND], 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_copied_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.flv");
    Show { seconds: Some(20), b_frames: 2, ..Show::default() }.write(&file).await;
    plays("copy", Show { copy: Some(file), ..Show::default() }, &[PICTURE, SOUND], 8).await;
}

/// Publishes, waits for the first playlist, plays for some seconds under the rule checker, and asks ffprobe.
async fn plays(name: &str, show: Show, streams: &[&str], seconds: u64) {
    let server = Headwater::start(&[]).await;
    let start = Instant::now();
    let publisher = show.publish(&server, name);
    let live = server.process.line_at(support::server::PATIENCE, |line| line.contains("stream is live").then_some(()));
    let (index, live) = tokio::join!(server.index(name), live);
    let (live, ()) = live.unwrap_or_else(|| panic!("no stream: {}", publisher.process.output()));
    let playlist = index.at.saturating_duration_since(live);
    eprintln!("{name}: first frame after {:?}, first playlist {playlist:?} after it", live - start);
    let (watch, outcome) = Watch::start(&server.http, &format!("/live/{name}/index.m3u8"));
    let url = format!("http://{}/live/{name}/index.m3u8", server.http);
    let seen = probe(&url, "stream=codec_type,codec_name,width,height,sample_rate,channels");
    // The length of the watch is what is tested, so here time itself is awaited.
    let (seen, ()) = tokio::join!(seen, tokio::time::sleep(Duration::from_secs(seconds)));
    watch.stop();
    let outcome = outcome.await.unwrap();
    for stream in streams {
        assert!(seen.contains(stream), "{name}: ffprobe misses {stream} in\n{seen}");
    }
    // ffprobe lists a stream for its program and once more by itself.
    let lines: BTreeSet<&str> = seen.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), streams.len(), "{name}: ffprobe sees\n{seen}");
    outcome.assert_clean(name);
}
