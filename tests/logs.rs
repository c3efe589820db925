//! The log of a show: every line about a publishing or viewing session names its stream and the session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::server::PATIENCE;
use support::webrtc::{HERE, Incoming, Peer, ask};
use support::{Headwater, Show};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_session_names_it_and_its_stream() {
    let level = "info,headwater::rtmp=debug,headwater::webrtc=debug,headwater::hub=debug";
    let flags = ["--log-level", level, "--log-format", "json", "--transcode-mode", "off"];
    let server = Headwater::start(&flags).await;
    let mut publisher = Show::default().publish(&server, "show");
    server.index("show").await;
    let mut viewer = Peer::join(&server, "/whep/show").await;
    while !matches!(viewer.next(PATIENCE).await.expect("media comes"), Incoming::Rtp(_)) {}
    ask(&server, HERE, "DELETE", &viewer.location, "text/plain", b"").await;
    says(&server, "WebRTC session ended").await;
    publisher.process.kill().await;
    says(&server, "session ended").await;

    let lines: Vec<Value> =
        server.process.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (protocol, first, last, least) in [
        ("rtmp", "publisher connected", "session ended", 3),
        ("whep", "WebRTC session offered", "WebRTC session ended", 3),
    ] {
        let id = lines.iter().find(|line| line["message"] == first).and_then(|line| of(line, "session")).unwrap();
        assert!(id.len() >= 16, "{protocol}: {id}");
        let own: Vec<&Value> = lines.iter().filter(|line| of(line, "session").as_deref() == Some(&id)).collect();
        assert_eq!(own.last().unwrap()["message"], last);
        assert!(own.len() >= least, "{protocol}: {own:#?}");
        for line in own {
            assert_eq!(of(line, "stream").as_deref(), Some("show"), "{line}");
            assert_eq!(of(line, "protocol").as_deref(), Some(protocol), "{line}");
        }
    }
    // Nobody else was there, so every line that these modules wrote is about one of the two.
    let spoken = |line: &&Value| {
        let target = line["target"].as_str().unwrap_or_default();
        ["headwater::rtmp", "headwater::webrtc::worker", "headwater::hub"]
            .iter()
            .any(|module| target.starts_with(module))
    };
    for line in lines.iter().filter(spoken) {
        assert!(of(line, "session").is_some() && of(line, "stream").is_some(), "{line}");
    }
}

/// A field of a line, or of the innermost span around it that has it.
fn of(line: &Value, field: &str) -> Option<String> {
    let spans = line["spans"].as_array().into_iter().flatten().rev();
    spans.chain([line]).find_map(|fields| fields[field].as_str().map(str::to_owned))
}

async fn says(server: &Headwater, message: &str) {
    let wanted = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == message).then_some(())
    };
    let found = server.process.line(PATIENCE, wanted).await;
    found.unwrap_or_else(|| panic!("no line {message:?}:\n{}", server.process.output()));
}
