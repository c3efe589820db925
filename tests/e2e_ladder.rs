//! The ladder from end to end: rungs that start when somebody asks, keep every rule of LL-HLS beside the source, and
//! outlive their worker. Sources are small, because a debug build scales slowly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use std::time::{Duration, Instant};

use checker::driver::{Outcome, Watch};
use serde_json::Value;
use support::{Headwater, Show};
use tokio::sync::Semaphore;

const RUNGS: [&str; 2] = ["--transcode-rungs", r#"["160p:300k", "120p:150k"]"#];

/// Tests that hold servers to the clock take this for themselves: beside another's encoders they would measure the machine.
static MACHINE: Semaphore = Semaphore::const_new(WHOLE as usize);

/// More than tests ever run beside each other.
const WHOLE: u32 = 64;

fn source() -> Show {
    Show { size: Some((426, 240)), ..Show::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rungs_keep_every_rule_through_kills_a_reconnect_and_another_size() {
    let _alone = MACHINE.acquire_many(WHOLE).await.unwrap();
    let flags = ["--hls-segment-target", "1s", "--hls-window", "12s"];
    run("half a minute", &flags, &[8, 8, 8, 8, 8]).await;
}

/// The same for as long as a show takes to go wrong. Takes five minutes, so it runs when it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "five minutes"]
async fn five_minutes() {
    run("five minutes", &[], &[60, 60, 60, 60, 60]).await;
}

/// A worker is killed, another hangs, the publisher reconnects, and comes back with another picture size.
async fn run(what: &str, flags: &[&str], seconds: &[u64; 5]) {
    let server = Headwater::start(&[&RUNGS[..], flags].concat()).await;
    let mut show = source();
    let mut publisher = show.publish(&server, "rules");
    let (watch, outcome) = Watch::start(&server.http, "/live/rules/index.m3u8");
    for (turn, seconds) in seconds.iter().enumerate() {
        // The length of the watch is what is tested, so here time itself is awaited.
        tokio::time::sleep(Duration::from_secs(*seconds)).await;
        eprintln!("{what}: {} violations so far", watch.broken());
        match turn {
            0 => signal(worker(&server).await, "KILL"),
            1 => signal(worker(&server).await, "STOP"),
            2 | 3 => {
                show.size = if turn == 3 { Some((320, 240)) } else { show.size };
                publisher.process.kill().await;
                publisher = show.publish(&server, "rules");
            }
            _ => {}
        }
    }
    let ladder = ladder(&server).await;
    publisher.process.signal("INT").await;
    let outcome = tokio::time::timeout(Duration::from_secs(60), outcome).await;
    watch.stop();
    let outcome = outcome.expect("the stream ends within the reconnect window").unwrap();
    assert_eq!(ladder["restarts"], 2, "{ladder}");
    for rung in ladder["rungs"].as_array().unwrap() {
        assert_eq!(rung["misses"], 0, "{ladder}");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_rung_is_answered_within_a_segment_and_a_second() {
    let _beside = MACHINE.acquire().await.unwrap();
    let server =
        Headwater::start(&[&RUNGS[..], &["--transcode-mode", "rung", "--transcode-idle", "3s"]].concat()).await;
    let _publisher = source().publish(&server, "cold");
    server.index("cold").await;
    assert!(server.renditions("cold").await.iter().any(|path| path.ends_with("160p.m3u8")), "cold rungs are listed");
    assert_eq!(state(&server, "160p").await, "cold");
    for _ in 0..2 {
        let asked = Instant::now();
        let answer = server.get("/live/cold/160p.m3u8").await;
        let took = asked.elapsed();
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Segments are of two seconds here. A worker is started for it, on a machine that may be busy.
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(state(&server, "120p").await, "cold", "nobody asked for that one");
        until(&server, "160p", "cold").await;
    }
    assert_eq!(ladder_of(&server, "cold").await["workers"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rungs_have_the_segments_of_the_source() {
    let _beside = MACHINE.acquire().await.unwrap();
    let server = Headwater::start(&[&RUNGS[..], &["--transcode-mode", "always"]].concat()).await;
    let _publisher = source().publish(&server, "even");
    server.index("even").await;
    let rungs = ["source", "160p", "120p"];
    let mut lists = Vec::new();
    for rung in rungs {
        let answer = server.get(&format!("/live/even/{rung}.m3u8?_HLS_msn=2")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        lists.push(heads(&answer.text()));
    }
    for (list, rung) in lists.iter().zip(rungs) {
        assert_eq!(list[..2], lists[0][..2], "{rung}");
    }
}

/// Start and duration of each whole segment.
fn heads(playlist: &str) -> Vec<(String, String)> {
    let with = |tag: &'static str| playlist.lines().filter_map(move |line| line.strip_prefix(tag)).map(str::to_owned);
    with("#EXT-X-PROGRAM-DATE-TIME:").zip(with("#EXTINF:")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_key_frames_gives_way_to_a_rung_of_its_size() {
    let _beside = MACHINE.acquire().await.unwrap();
    let flags = ["--hls-segment-target", "1s", "--hls-segment-max", "2s", "--transcode-rungs", r#"["120p:150k"]"#];
    let server = Headwater::start(&flags).await;
    let show = Show { gop: 100_000, keys_at: &[0.0], ..source() };
    let _publisher = show.publish(&server, "long");
    let index = server.index("long").await.text();
    assert!(index.contains("240p-steady.m3u8") && !index.contains("source.m3u8"), "{index}");
    let playlist = server.get("/live/long/240p-steady.m3u8").await;
    assert_eq!(playlist.status, 200);
    assert!(playlist.text().contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{}", playlist.text());
    let advice = until_some(&server, "long", "advice").await;
    assert!(advice.as_str().is_some_and(|text| text.contains("keyframe interval")), "{advice}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_of_each_live_stream_is_made() {
    let _beside = MACHINE.acquire().await.unwrap();
    let server = Headwater::start(&["--transcode-mode", "off", "--transcode-thumbnails", "1s"]).await;
    assert_eq!(server.get("/live/still/poster.jpg").await.status, 404);
    let _publisher = source().publish(&server, "still");
    let answer = server.once("/live/still/poster.jpg", |answer| answer.status == 200).await;
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    assert!(answer.body.starts_with(&[0xff, 0xd8]) && answer.body.len() > 1_000, "{} bytes", answer.body.len());
}

/// What broadcasters send that no test of the worker alone can show: ffmpeg's arguments of sixteen seconds of it.
const SOURCES: [(&str, &[&str]); 7] = [
    ("without-sound", &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=16", "-g", "60"]),
    (
        "late-sound",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=30:duration=16",
            "-itsoffset",
            "10",
            "-f",
            "lavfi",
            "-i",
            "sine=sample_rate=48000:duration=6",
            "-g",
            "60",
        ],
    ),
    (
        "ten-second-groups",
        &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=16", "-g", "300", "-sc_threshold", "0"],
    ),
    ("one-a-second", &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=1:duration=16", "-g", "2"]),
    ("odd", &["-f", "lavfi", "-i", "testsrc2=size=853x479:rate=25:duration=16", "-g", "50", "-pix_fmt", "yuv444p"]),
    (
        "uneven",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=30:duration=16",
            "-vf",
            "select=mod(n\\,3)*mod(n\\,7)",
            "-fps_mode",
            "vfr",
            "-g",
            "40",
        ],
    ),
    (
        "interlaced",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=50:duration=16",
            "-vf",
            "interlace",
            "-flags",
            "+ildct+ilme",
            "-x264-params",
            "tff=1",
            "-g",
            "50",
        ],
    ),
];

/// Rules that no server can keep for such a source: where a segment ends cannot be hinted at if key frames come when they
/// like, there is no frame rate to tell, and sound that is waited for comes several parts at once.
const FORGIVEN: [(&str, &str); 5] = [
    ("late-sound", "blocking-prompt"),
    ("one-a-second", "hint-comes-true"),
    ("one-a-second", "playlist-cached-briefly"),
    ("uneven", "hint-comes-true"),
    ("uneven", "frame-rate"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_of_every_kind_have_rungs_that_keep_every_rule() {
    let _alone = MACHINE.acquire_many(WHOLE).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--transcode-rungs", r#"["90p:150k"]"#, "--transcode-mode", "always", "--hls-segment-max", "4s"];
    let server = Headwater::start(&[&flags[..], &["--transcode-preset", "superfast"]].concat()).await;
    let mut watched = Vec::new();
    for (name, arguments) in SOURCES {
        let file = folder.path().join(name);
        support::publish::encode(arguments, &file).await;
        let show = Show { copy: Some(file), ..Show::default() };
        let publisher = show.publish(&server, name);
        let (watch, outcome) = Watch::start(&server.http, &format!("/live/{name}/index.m3u8"));
        watched.push((name, publisher, watch, outcome));
    }
    // Files are played again and again, so that each is seen to start anew while it is watched.
    tokio::time::sleep(Duration::from_secs(20)).await;
    for (name, publisher, _, _) in &watched {
        let ladder = ladder_of(&server, name).await;
        let rung = ladder["rungs"].as_array().unwrap().iter().find(|rung| rung["name"] == "90p").unwrap();
        let found = (&rung["state"], &rung["misses"], &ladder["restarts"]);
        assert_eq!(found, (&"live".into(), &0.into(), &0.into()), "{name}: {ladder}");
        publisher.process.signal("INT").await;
    }
    for (name, _publisher, _watch, outcome) in watched {
        let outcome = tokio::time::timeout(Duration::from_secs(60), outcome).await.expect("the stream ends").unwrap();
        decodes(&outcome).await;
        let broken: Vec<String> = outcome.checker.ledger().violations().iter().map(ToString::to_string).collect();
        let not_for_them = |text: &&String| !FORGIVEN.iter().any(|(of, rule)| *of == name && text.starts_with(rule));
        let broken: Vec<&String> = broken.iter().filter(not_for_them).collect();
        assert!(broken.is_empty(), "{name}: {broken:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ladder_that_is_too_heavy_is_given_up_and_the_source_goes_on() {
    let _beside = MACHINE.acquire().await.unwrap();
    let flags = ["--transcode-rungs", r#"["480p:2M"]"#, "--transcode-mode", "always", "--transcode-preset", "slow"];
    let server = Headwater::start(&flags).await;
    let show = Show { size: Some((1280, 720)), ..Show::default() };
    let _publisher = show.publish(&server, "heavy");
    server.index("heavy").await;
    let (start, first) = (Instant::now(), newest_segment(&server).await);
    let mut ladder = ladder_of(&server, "heavy").await;
    while ladder["given_up"] == 0 {
        assert!(start.elapsed() < support::server::PATIENCE, "{ladder}");
        // Whatever the machine can do, a worker that may run for a tenth of the time is too slow.
        for worker in ladder["workers"].as_array().unwrap() {
            signal(worker.as_u64().unwrap(), "STOP");
            tokio::time::sleep(Duration::from_millis(700)).await;
            signal(worker.as_u64().unwrap(), "CONT");
        }
        tokio::time::sleep(Duration::from_millis(70)).await;
        ladder = ladder_of(&server, "heavy").await;
    }
    assert!(server.process.output().contains("too slow"), "the log says so:\n{}", server.process.output());
    // Segments of the source last two seconds.
    let (passed, due) = (newest_segment(&server).await - first, start.elapsed().as_secs() / 2);
    assert!(passed + 1 >= due, "{passed} of {due} segments of the source");
}

/// Number of the source's newest whole segment.
async fn newest_segment(server: &Headwater) -> u64 {
    let playlist = server.get("/live/heavy/source.m3u8?ll=0").await.text();
    let first = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap();
    first.parse::<u64>().unwrap() + playlist.matches("#EXTINF").count() as u64
}

async fn ladder(server: &Headwater) -> Value {
    ladder_of(server, "rules").await
}

/// What the admin API says of a stream's ladder; waits until it says anything.
async fn ladder_of(server: &Headwater, stream: &str) -> Value {
    let start = Instant::now();
    loop {
        let streams: Value = serde_json::from_slice(&server.admin("/api/v1/streams").await.body).unwrap();
        let found = streams["streams"].as_array().unwrap().iter().find(|found| found["name"] == stream);
        if let Some(ladder) = found.map(|found| &found["ladder"]).filter(|ladder| ladder.is_object()) {
            return ladder.clone();
        }
        assert!(start.elapsed() < support::server::PATIENCE, "no ladder: {streams}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_some(server: &Headwater, stream: &str, field: &str) -> Value {
    let start = Instant::now();
    loop {
        let ladder = ladder_of(server, stream).await;
        if !ladder[field].is_null() {
            return ladder[field].clone();
        }
        assert!(start.elapsed() < support::server::PATIENCE, "{ladder}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn state(server: &Headwater, rung: &str) -> String {
    let ladder = ladder_of(server, "cold").await;
    let found = ladder["rungs"].as_array().unwrap().iter().find(|found| found["name"] == rung).unwrap();
    found["state"].as_str().unwrap().to_owned()
}

async fn until(server: &Headwater, rung: &str, wanted: &str) {
    let start = Instant::now();
    while state(server, rung).await != wanted {
        assert!(start.elapsed() < support::server::PATIENCE, "{rung} is not {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The process that makes the rungs; waits until there is just one.
async fn worker(server: &Headwater) -> u64 {
    let start = Instant::now();
    loop {
        let ladder = ladder(server).await;
        if let [pid] = &ladder["workers"].as_array().unwrap()[..] {
            return pid.as_u64().unwrap();
        }
        assert!(start.elapsed() < support::server::PATIENCE, "{ladder}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn signal(pid: u64, name: &str) {
    let status = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success());
}
