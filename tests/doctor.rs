//! The stream doctor from outside: ffmpeg sends streams with one ailment each, and the admin API says what is wrong with them,
//! with the setting that mends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::Headwater;
use support::process::Process;
use tokio::process::Command;

/// A finding needs some seconds of a stream, and a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(90);

const PICTURE: &str = "testsrc2=size=160x90:rate=25";
const TONE: &str = "sine=frequency=440:sample_rate=48000";
/// A tone whose tops are cut off, and not by a little: ffmpeg's AAC encoder rounds off what is cut off gently.
const TOO_LOUD: &str = "sine=frequency=440:sample_rate=48000,volume=40dB:precision=fixed,pan=stereo|c0=c0|c1=c0";
/// A tone has an eighth of full scale: 2 dB down, and -20 dBFS at its peaks.
const ORDINARY: &str = "sine=frequency=440:sample_rate=48000,volume=-2dB,pan=stereo|c0=c0|c1=c0";
const LEFT_ALONE: &str = "sine=frequency=440:sample_rate=48000,pan=stereo|c0=c0|c1=0*c0";
const SILENCE: &str = "anullsrc=sample_rate=48000:channel_layout=stereo";
/// A key frame a second and none besides, without B-frames.
const HEALTHY: &[&str] = &["-g", "25", "-keyint_min", "25", "-bf", "0", "-pix_fmt", "yuv420p"];

fn publish(server: &Headwater, name: &str, sound: Option<&str>, encoding: &[&str]) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-re", "-f", "lavfi", "-i", PICTURE]);
    if let Some(sound) = sound {
        command.args(["-re", "-f", "lavfi", "-i", sound, "-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
    }
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-b:v", "300k", "-sc_threshold", "0"]);
    command.args(encoding).args(["-flvflags", "no_duration_filesize", "-f", "flv"]);
    command.arg(format!("{}/{name}", server.rtmp));
    Process::start(name, command)
}

/// What is found of each stream, by code; and its health.
async fn findings(server: &Headwater) -> BTreeMap<String, (String, BTreeMap<String, Value>)> {
    let answer = server.admin("/api/v1/streams").await;
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let by_code = |stream: &Value| {
        let findings = stream["findings"].as_array().unwrap();
        findings.iter().map(|finding| (text(&finding["code"]), finding.clone())).collect()
    };
    let stream = |stream: &Value| (text(&stream["name"]), (text(&stream["health"]), by_code(stream)));
    json["streams"].as_array().unwrap().iter().map(stream).collect()
}

/// What the machine that runs the tests makes of a link is not the encoder's fault.
fn of_the_encoder(code: &str) -> bool {
    !code.starts_with("network_")
}

#[tokio::test]
async fn each_ailment_is_found_with_its_remedy() {
    let server = Headwater::start(&["--transcode-mode", "off"]).await;
    let healthy = |more: &[&'static str]| -> Vec<&'static str> { [HEALTHY, more].concat() };
    let cases = [
        ("long", Some(TONE), healthy(&["-g", "250", "-keyint_min", "250"]), "gop_long", "Keyframe Interval"),
        ("reordered", Some(TONE), healthy(&["-bf", "2"]), "b_frames", "bframes=0"),
        (
            "dropped",
            Some(TONE),
            healthy(&["-vf", "select='mod(n,5)'", "-fps_mode", "vfr"]),
            "frames_dropped",
            "View > Stats",
        ),
        ("colourful", Some(TONE), healthy(&["-pix_fmt", "yuv444p"]), "profile_unplayable", "Color Format: NV12"),
        ("silent", Some(SILENCE), healthy(&[]), "sound_silent", "Audio Mixer"),
        ("dumb", None, healthy(&[]), "sound_missing", "Global Audio Devices"),
    ];
    let _publishers: Vec<Process> =
        cases.iter().map(|(name, sound, encoding, ..)| publish(&server, name, *sound, encoding)).collect();
    let _well = publish(&server, "well", Some(TONE), HEALTHY);
    let began = Instant::now();
    loop {
        let found = findings(&server).await;
        let missing = |(name, _, _, code, _): &&(&str, _, _, &str, _)| {
            found.get(*name).is_none_or(|(_, codes)| !codes.contains_key(*code))
        };
        let missing: Vec<&str> = cases.iter().filter(missing).map(|(name, ..)| *name).collect();
        if missing.is_empty() && found.contains_key("well") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is found of {missing:?}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let found = findings(&server).await;
    for (name, _, _, code, setting) in &cases {
        let (health, codes) = &found[*name];
        let others = codes
            .iter()
            .filter(|(other, finding)| of_the_encoder(other) && other != code && finding["severity"] != "info");
        assert_eq!(others.count(), 0, "{name}: {codes:#?}");
        let finding = &codes[*code];
        assert!(finding["remedy"].as_str().unwrap().contains(setting), "{finding}");
        assert!(finding["since_ms"].as_u64().is_some(), "{finding}");
        if finding["severity"] != "info" {
            assert_ne!(health, "good", "{name}");
        }
    }
    let (_, codes) = &found["well"];
    let wrong: Vec<&String> = codes.keys().filter(|code| of_the_encoder(code)).collect();
    assert!(wrong.is_empty(), "{codes:#?}");
    assert!(server.metric("headwater_doctor_findings").await >= cases.len() as f64);
}

/// `sound` of a stream once it is there.
async fn loudness(server: &Headwater, name: &str) -> Value {
    let answer = server.admin(&format!("/api/v1/streams/{name}")).await;
    let stream: Value = serde_json::from_slice(&answer.body).unwrap();
    stream["sound"].clone()
}

#[tokio::test]
async fn sound_is_decoded_and_judged() {
    let server = Headwater::start(&["--transcode-mode", "off", "--doctor-listen-interval", "1s"]).await;
    let cases = [
        ("loud", TOO_LOUD, "sound_clips", "Limiter"),
        ("mute", SILENCE, "sound_silent", "unmute"),
        ("left", LEFT_ALONE, "sound_one_sided", "Mono"),
    ];
    let _publishers: Vec<Process> =
        cases.iter().map(|(name, sound, ..)| publish(&server, name, Some(sound), HEALTHY)).collect();
    let _well = publish(&server, "well", Some(ORDINARY), HEALTHY);
    let of_sound = |found: &BTreeMap<String, (String, BTreeMap<String, Value>)>, name: &str| -> Vec<(String, Value)> {
        let codes = found.get(name).into_iter().flat_map(|(_, codes)| codes.clone());
        codes.filter(|(code, _)| code.starts_with("sound_")).collect()
    };
    let began = Instant::now();
    loop {
        let found = findings(&server).await;
        if cases.iter().all(|(name, ..)| !of_sound(&found, name).is_empty())
            && loudness(&server, "well").await != Value::Null
        {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let found = findings(&server).await;
    for (name, _, code, setting) in cases {
        let said = of_sound(&found, name);
        assert!(said.len() == 1 && said[0].0 == code, "{name}: {said:#?}");
        assert!(said[0].1["remedy"].as_str().unwrap().contains(setting), "{said:#?}");
    }
    assert_eq!(of_sound(&found, "well"), []);
    let (loud, mute, well) =
        (loudness(&server, "loud").await, loudness(&server, "mute").await, loudness(&server, "well").await);
    let number = |sound: &Value, field: &str| sound[field].as_f64().unwrap();
    assert!(number(&loud, "clipped") > 0.001 && number(&loud, "peak_db") >= 0.0, "{loud}");
    assert!(number(&mute, "rms_db") <= -90.0 && number(&mute, "clipped") == 0.0, "{mute}");
    assert!((number(&well, "rms_db") + 23.0).abs() < 1.0 && number(&well, "clipped") == 0.0, "{well}");
    assert!(number(&well, "at_ms") > 1_600_000_000_000.0, "{well}");
    assert!(server.metric("headwater_listen_seconds_count").await >= 4.0);
}

/// The worker is stopped, then killed: what was being measured is lost, and what comes next is measured again.
#[tokio::test]
async fn a_worker_that_hangs_or_dies_costs_one_measurement() {
    let server = Headwater::start(&["--transcode-mode", "off", "--doctor-listen-interval", "1s"]).await;
    let _publisher = publish(&server, "show", Some(ORDINARY), HEALTHY);
    let measured = async |after: u64| -> u64 {
        let began = Instant::now();
        loop {
            let at = loudness(&server, "show").await["at_ms"].as_u64().unwrap_or(0);
            if at > after {
                return at;
            }
            assert!(began.elapsed() < PATIENCE, "nothing is measured any more");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut last = measured(0).await;
    for signal in ["STOP", "KILL"] {
        let worker = server.process.children().into_iter().next().expect("a worker");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(worker.to_string()).status().await;
        assert!(sent.unwrap().success());
        // One may have been on its way; the second is another worker's.
        last = measured(last).await;
        last = measured(last).await;
        let began = Instant::now();
        while server.process.children().contains(&worker) {
            assert!(began.elapsed() < PATIENCE, "the worker outlives its SIG{signal}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(server.metric("headwater_listen_failed_total").await >= 1.0);
    assert_eq!(server.get("/live/show/index.m3u8").await.status, 200);
    let found = findings(&server).await;
    assert!(!found["show"].1.keys().any(|code| code.starts_with("sound_")), "{found:#?}");
}

#[tokio::test]
async fn without_an_interval_nothing_is_decoded() {
    let flags = ["--transcode-mode", "off", "--transcode-thumbnails", "0s", "--doctor-listen-interval", "0s"];
    let server = Headwater::start(&flags).await;
    let _mute = publish(&server, "mute", Some(SILENCE), HEALTHY);
    let began = Instant::now();
    while !findings(&server).await.get("mute").is_some_and(|(_, codes)| codes.contains_key("sound_silent")) {
        assert!(began.elapsed() < PATIENCE, "the size of its frames says it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(loudness(&server, "mute").await, Value::Null);
    assert_eq!(server.process.children(), Vec::<u32>::new());
}

#[tokio::test]
async fn without_a_doctor_nothing_is_said() {
    let server = Headwater::start(&["--transcode-mode", "off", "--doctor-enabled", "false"]).await;
    let _dumb = publish(&server, "dumb", None, HEALTHY);
    server.index("dumb").await;
    let found = findings(&server).await;
    assert_eq!(found["dumb"], ("good".to_owned(), BTreeMap::new()));
}
