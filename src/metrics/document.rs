//! Holds everything that speaks of metrics against the one table: the list for operators, the dashboard, the rules, the
//! source.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::table::{DRAWN, Kind, LABELS, Name, RECORDED, row};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The labels of a metric.
fn labels(name: &Name) -> Vec<&'static str> {
    let inner = name.labels.trim_matches(['{', '}', ' ']);
    inner.split(',').map(str::trim).filter(|label| !label.is_empty()).collect()
}

fn document() -> String {
    let mut text =
        "# Metrics\n\nWhat `/metrics` of the admin listener has. Made of the table in `src/metrics/table.rs`: \
                    change it there, then run\n`HEADWATER_WRITE_METRICS=1 cargo test --lib metrics::document`.\n\n\
                    | name | kind | labels | meaning |\n|---|---|---|---|\n"
            .to_owned();
    let rows = |text: &mut String, names: &[&Name]| {
        for name in names {
            let said = labels(name).iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "| `{}` | {} | {said} | {} |", name.name, name.kind.name(), name.about);
        }
    };
    let (single, whole): (Vec<&Name>, Vec<&Name>) =
        RECORDED.iter().chain(DRAWN).partition(|name| labels(name).contains(&"stream"));
    rows(&mut text, &whole);
    text.push_str(
        "\n## Of single streams\n\nWith `telemetry.per_stream` above 0, and of so many streams at most.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    rows(&mut text, &single);
    text.push_str("\n## Labels\n\nEvery label has few values.\n\n| label | values |\n|---|---|\n");
    for (label, values) in LABELS {
        let _ = writeln!(text, "| `{label}` | {values} |");
    }
    text
}

/// The names in a text that look like metrics of this server, with what histograms add taken off.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '/' || c == '.'));
    let ours = words.filter(|word| word.starts_with("headwater_") || word.starts_with("process_"));
    ours.map(|word| {
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        let histogram = bare.filter(|bare| row(bare).is_some_and(|row| row.kind == Kind::Histogram));
        histogram.unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "nothing of the server: who changes the table says that the list be written"
)]
fn the_list_for_operators_is_up_to_date() {
    let path = file("config/prometheus/METRICS.md");
    if std::env::var_os("HEADWATER_WRITE_METRICS").is_some() {
        fs::write(&path, document()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document(),
        "config/prometheus/METRICS.md is not what src/metrics/table.rs says: run \
         HEADWATER_WRITE_METRICS=1 cargo test --lib metrics::document"
    );
}

#[test]
fn the_dashboard_and_the_rules_ask_for_metrics_that_there_are() {
    for path in ["config/prometheus/alerts.yml", "config/grafana/headwater.json"] {
        let text = fs::read_to_string(file(path)).unwrap();
        let asked = names(&text);
        assert!(asked.len() > 10, "{path}: {asked:?}");
        for name in asked {
            assert!(row(&name).is_some(), "{path}: there is no metric {name}");
        }
    }
}

#[test]
fn names_and_labels_are_as_prometheus_has_them() {
    let mut seen = BTreeSet::new();
    for name in RECORDED.iter().chain(DRAWN) {
        let Name { name: text, kind, about, .. } = name;
        assert!(seen.insert(*text), "{text} is there twice");
        assert!(text.starts_with("headwater_") || text.starts_with("process_"), "{text}");
        assert_eq!(*kind == Kind::Counter, text.ends_with("_total"), "{text}");
        assert!(about.ends_with('.') && !about.contains('|'), "{text}");
        for label in labels(name) {
            assert!(LABELS.iter().any(|(known, _)| *known == label), "{text}: which values has {label}?");
        }
    }
    let used: BTreeSet<&str> = RECORDED.iter().chain(DRAWN).flat_map(labels).collect();
    assert!(LABELS.iter().all(|(label, _)| used.contains(label)) && LABELS.is_sorted());
}

#[test]
fn names_stand_in_the_table_alone() {
    let mut folders = vec![file("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.starts_with(file("src/metrics")) {
                let text = fs::read_to_string(&path).unwrap();
                // Tests look at what was rendered.
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let mut literals = text.match_indices("\"headwater_").map(|(at, _)| &text[at + 1..]);
                // The cookie's name looks like one.
                let bad = literals.find(|rest| !rest.starts_with("headwater_admin\""));
                assert!(bad.is_none(), "{}: take the constant of src/metrics/table.rs", path.display());
            }
        }
    }
}
