//! Ways as OTLP writes them in JSON (opentelemetry-proto, trace/v1, with the field names and the hexadecimal ids of its JSON
//! mapping). Values in, text out.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Traces, Way};

/// The body of a request to `/v1/traces`.
pub(super) fn body(traces: &Traces, ways: &[Way]) -> String {
    let ids = RandomState::new();
    let spans: Vec<Value> =
        ways.iter().enumerate().flat_map(|(number, way)| spans(traces, way, &ids, number as u64)).collect();
    let service = [attribute("service.name", "headwater"), attribute("service.version", env!("CARGO_PKG_VERSION"))];
    let scope = json!({ "scope": { "name": "headwater" }, "spans": spans });
    json!({ "resourceSpans": [{ "resource": { "attributes": service }, "scopeSpans": [scope] }] }).to_string()
}

/// The whole way, and its stretches: to the frame that closes the part, to its playlist, to the first viewer.
fn spans(traces: &Traces, way: &Way, ids: &RandomState, number: u64) -> Vec<Value> {
    let id = |of: u64| format!("{:016x}", ids.hash_one((number, of)).max(1));
    let (trace, root) = (format!("{}{}", id(0), id(1)), id(2));
    let part = &way.part;
    let packaged = way.packaged.unwrap_or(part.closed);
    let end = way.sent.map_or(packaged, |sent| sent.max(packaged));
    let span = |name: &str, of: u64, from: Instant, to: Instant| {
        let parent = if of == 2 { "" } else { &root };
        json!({
            "traceId": trace,
            "spanId": id(of),
            "parentSpanId": parent,
            "name": name,
            "kind": 1,
            "startTimeUnixNano": traces.wall(from).to_string(),
            "endTimeUnixNano": traces.wall(to).to_string(),
            "attributes": [
                attribute("headwater.stream", &part.stream),
                attribute("headwater.rendition", part.rendition),
                attribute("headwater.epoch", &part.epoch.to_string()),
                attribute("headwater.part", &format!("{}.{}", part.msn, part.part)),
            ],
        })
    };
    let mut spans = vec![
        span("part", 2, part.first, end),
        span("ingest", 3, part.first, part.closed),
        span("package", 4, part.closed, packaged),
    ];
    spans.extend(way.sent.map(|_| span("deliver", 5, packaged, end)));
    spans
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::super::Part;
    use super::*;

    #[test]
    fn a_way_is_a_trace_of_four_spans() {
        let traces = Traces::new(1);
        let at = |millis| traces.began.0 + Duration::from_millis(millis);
        let stream = "show".to_owned();
        let part = Part { stream, epoch: 7, rendition: "source", msn: 3, part: 1, first: at(0), closed: at(256) };
        let way = Way { path: part.path(), part, packaged: Some(at(257)), sent: Some(at(259)), since: at(256) };
        let body: Value = serde_json::from_str(&body(&traces, &[way])).unwrap();
        let scope = &body["resourceSpans"][0]["scopeSpans"][0];
        let spans = scope["spans"].as_array().unwrap();
        let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["part", "ingest", "package", "deliver"]);
        let nanos = |span: &Value, field: &str| span[field].as_str().unwrap().parse::<u128>().unwrap();
        let millis: Vec<u128> = spans
            .iter()
            .map(|span| (nanos(span, "endTimeUnixNano") - nanos(span, "startTimeUnixNano")) / 1_000_000)
            .collect();
        assert_eq!(millis, [259, 256, 1, 2]);
        for span in spans {
            assert_eq!(span["traceId"], spans[0]["traceId"]);
            assert_eq!((span["traceId"].as_str().unwrap().len(), span["spanId"].as_str().unwrap().len()), (32, 16));
        }
        assert!(
            spans[0]["parentSpanId"] == "" && spans[1..].iter().all(|span| span["parentSpanId"] == spans[0]["spanId"])
        );
        assert_eq!(spans[3]["attributes"][3]["value"]["stringValue"], "3.1");
    }
}
