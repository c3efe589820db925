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

#[tokio::test]
async fn without_a_doctor_nothing_is_said() {
    let server = Headwater::start(&["--transcode-mode", "off", "--doctor-enabled", "false"]).await;
    let _dumb = publish(&server, "dumb", None, HEALTHY);
    server.index("dumb").await;
    let found = findings(&server).await;
    assert_eq!(found["dumb"], ("good".to_owned(), BTreeMap::new()));
}
