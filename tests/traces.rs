//! Traces of parts, as an OpenTelemetry collector gets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use checker::driver::Watch;
use serde_json::Value;
use support::server::PATIENCE;
use support::{Headwater, Show};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// The next request: its path and body.
async fn request(listener: &TcpListener) -> (String, Value) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once([' ', ':']) {
            Some(("POST", rest)) => path = rest.split(' ').next().unwrap().to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap()
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    (path, serde_json::from_slice(&body).unwrap())
}

fn spans(body: &Value) -> Vec<Value> {
    let resources = body["resourceSpans"].as_array().unwrap();
    assert_eq!(resources[0]["resource"]["attributes"][0]["value"]["stringValue"], "headwater");
    resources[0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_followed_from_its_first_frame_to_its_first_viewer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Headwater::start(&["--telemetry-endpoint", &endpoint, "--telemetry-sample", "2"]).await;
    let _publisher = Show::default().publish(&server, "show");
    server.index("show").await;
    let (watch, outcome) = Watch::start(&server.http, "/live/show/index.m3u8");
    let whole = async {
        loop {
            let (path, body) = request(&listener).await;
            assert_eq!(path, "/v1/traces");
            let spans = spans(&body);
            if let Some(deliver) = spans.iter().find(|span| span["name"] == "deliver") {
                let same = |span: &&Value| span["traceId"] == deliver["traceId"];
                return spans.iter().filter(same).cloned().collect::<Vec<_>>();
            }
        }
    };
    let trace = tokio::time::timeout(PATIENCE, whole).await.expect("a part that somebody watched");
    watch.stop();
    drop(outcome.await.unwrap());
    let at = |name: &str, field: &str| {
        let span = trace.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name}: {trace:#?}"));
        span[field].as_str().unwrap().parse::<u128>().unwrap()
    };
    let (start, end) = ("startTimeUnixNano", "endTimeUnixNano");
    // The stretches follow each other without a gap.
    assert!(at("ingest", end) > at("ingest", start), "{trace:#?}");
    assert_eq!(at("ingest", end), at("package", start));
    assert_eq!(at("package", end), at("deliver", start));
    assert_eq!((at("part", start), at("part", end)), (at("ingest", start), at("deliver", end)));
    let attributes = trace[0]["attributes"].as_array().unwrap();
    let of = |key: &str| attributes.iter().find(|a| a["key"] == key).unwrap()["value"]["stringValue"].as_str().unwrap();
    assert_eq!((of("headwater.stream"), of("headwater.rendition")), ("show", "source"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_costs_the_show_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Headwater::start(&["--telemetry-endpoint", &endpoint, "--telemetry-sample", "1"]).await;
    let _publisher = Show::default().publish(&server, "show");
    server.index("show").await;
    let (watch, outcome) = Watch::start(&server.http, "/live/show/index.m3u8");
    let lost = server.process.line(PATIENCE, |line| line.contains("traces are lost").then_some(())).await;
    assert!(lost.is_some(), "{}", server.process.output());
    let source = server.renditions("show").await.remove(0);
    server.once(&source, |answer| answer.text().matches("#EXTINF").count() >= 5).await;
    watch.stop();
    outcome.await.unwrap().assert_clean("show");
    assert!(server.metric("headwater_traces_lost_total").await >= 1.0);
}
