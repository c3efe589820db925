//! What a scrape of a busy server has, held against the list that operators are given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::http::Client;
use support::publish::Show;
use support::server::{Headwater, PATIENCE};

/// A row of `config/prometheus/METRICS.md`.
#[derive(Debug)]
struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

fn listed() -> BTreeMap<String, Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus/METRICS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, _, _] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((name.to_owned(), Row { kind: (*kind).to_owned(), labels }))
    });
    rows.collect()
}

/// One line with a value: its name, and its labels.
fn series(line: &str) -> (&str, BTreeMap<&str, &str>) {
    let (name, rest) = line.split_once(['{', ' ']).unwrap();
    let Some((labels, _)) = rest.rsplit_once('}') else { return (name, BTreeMap::new()) };
    // No value of a label has a comma or an equals sign here.
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    (name, pairs.map(|(label, value)| (label, value.trim_matches('"'))).collect())
}

/// Everything that a scrape has is in the list, under its kind and labels; nothing is described twice.
fn hold(text: &str, listed: &BTreeMap<String, Row>) -> BTreeMap<String, BTreeSet<String>> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap()), "told twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "told twice: {line}");
        } else {
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "there twice: {line}");
            let (name, mut labels) = series(line);
            let bare = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
            let name = bare.into_iter().find(|bare| kinds.get(bare) == Some(&"histogram")).unwrap_or(name);
            let row = listed.get(name).unwrap_or_else(|| panic!("METRICS.md does not have {line}"));
            assert_eq!(kinds.get(name), Some(&row.kind.as_str()), "{line}");
            assert!(helped.contains(name), "no HELP: {line}");
            labels.remove("le");
            let told: BTreeSet<String> = labels.keys().map(|label| (*label).to_owned()).collect();
            assert_eq!(told, row.labels, "{line}");
            for (label, value) in labels {
                values.entry(format!("{name} {label}")).or_default().insert(value.to_owned());
            }
        }
    }
    for (name, row) in listed.iter().filter(|(_, row)| row.labels.is_empty()) {
        assert!(kinds.contains_key(name.as_str()), "{name} ({}) is not there", row.kind);
    }
    values
}

#[tokio::test]
async fn a_scrape_has_what_the_list_says_and_no_stream_has_a_name() {
    let flags =
        ["--transcode-rungs", r#"["90p:150k"]"#, "--transcode-mode", "always", "--transcode-preset", "ultrafast"];
    let server = Headwater::start(&flags).await;
    let _shows = ["alpha", "beta"].map(|name| Show::default().publish(&server, name));
    for name in ["alpha", "beta"] {
        server.index(name).await;
    }
    // Somebody who watches, somebody who is refused, something that is not there.
    for path in server.renditions("alpha").await {
        server.get(&path).await;
    }
    server.get("/live/nothing/index.m3u8").await;
    let wrong = [("authorization".to_owned(), "Bearer wrong".to_owned())];
    Client::new(&server.admin).get_with("/api/v1/streams", &wrong).await.unwrap();
    let start = std::time::Instant::now();
    while server.metric("headwater_ingest_bytes_total").await < 10_000.0
        || server.metric("headwater_ladder_rungs").await < 1.0
    {
        assert!(start.elapsed() < PATIENCE, "{}", server.admin("/metrics").await.text());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let text = server.admin("/metrics").await.text();
    let values = hold(&text, &listed());
    for (label, values) in values {
        assert!(values.len() <= 40, "{label} has {} values: {values:?}", values.len());
        assert!(!values.contains("alpha") && !values.contains("beta"), "{label}: {values:?}");
    }
    assert_eq!(server.metric("headwater_config_last_reload_successful").await, 1.0);
    assert_eq!(server.metric("headwater_publishers").await, 2.0);
}

#[tokio::test]
async fn as_many_streams_have_series_of_their_own_as_the_operator_wants() {
    let server = Headwater::start(&["--telemetry-per-stream", "1"]).await;
    let _shows = ["alpha", "beta"].map(|name| Show::default().publish(&server, name));
    for name in ["alpha", "beta"] {
        server.index(name).await;
    }
    let text = server.admin("/metrics").await.text();
    hold(&text, &listed());
    assert!(text.contains("headwater_stream_live{stream=\"alpha\"} 1\n"), "{text}");
    assert!(!text.contains("beta"), "{text}");
}
