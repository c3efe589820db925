//! One call of the admin API, read and checked before anything acts on it: parameters, query, body, and who calls.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::identity::Who;
use super::routes::Param;
use crate::access::StreamName;
use crate::http::body::Body;
use crate::http::problem::Problem;

/// A call whose caller is known and whose parts have been read.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) who: Who,
    pub(super) peer: IpAddr,
    pub(super) headers: HeaderMap,
    /// What stood in the place of each `{...}` of the route.
    pub(super) params: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Call {
    /// Checks the query against what the route takes.
    pub(super) fn new(
        (who, peer): (Who, IpAddr),
        headers: HeaderMap,
        params: Vec<String>,
        (query, taken): (Option<&str>, &[Param]),
        body: Bytes,
    ) -> Result<Call, Problem> {
        Ok(Call { who, peer, headers, params, query: read_query(query.unwrap_or_default(), taken)?, body })
    }

    /// The first parameter of the path.
    pub(super) fn first(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// The first parameter of the path, as a stream's name.
    pub(super) fn stream(&self) -> Result<StreamName, Problem> {
        StreamName::new(self.first()).map_err(|bad| Problem::not_found(bad.to_string()))
    }

    /// A parameter of the query.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A number of the query, checked when the call was read.
    pub(super) fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.asked(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    }

    /// The body as JSON of a shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let detail = "the body must be application/json; say so in Content-Type";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        // A list of a shape's values in their order would be read as that shape.
        if self.body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Problem::bad_request("the body is no JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            // What serde says of a wrong value may repeat it, and it may be a secret: only where it is wrong is said.
            let what =
                if error.is_data() { "is not of the shape that /api/v1/openapi.json gives" } else { "is no JSON" };
            Problem::bad_request(format!("the body {what} (line {}, column {})", error.line(), error.column()))
        })
    }
}

/// A whole number however it is written: to JSON Schema `7.0` is one too.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let written = |number: f64| (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64);
    let whole = number.as_u64().or_else(|| number.as_f64().and_then(written));
    whole.ok_or_else(|| D::Error::custom("not a whole number from 0 on"))
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let failed = |error: serde_json::Error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let text = serde_json::to_vec(value).map_err(failed)?;
    let mut response = Response::new(Body::one(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// An answer that says that it is done, and no more.
pub(super) fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn read_query(query: &str, taken: &[Param]) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut read: Vec<(&'static str, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(param) = taken.iter().find(|param| param.name == name) else {
            let known: Vec<&str> = taken.iter().map(|param| param.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Problem::bad_request(format!("the query has a parameter that is not known; known: {known}")));
        };
        if read.iter().any(|(known, _)| *known == param.name) {
            return Err(Problem::bad_request(format!("{} is given twice", param.name)));
        }
        if let Some((least, most)) = param.range
            && !value.parse().is_ok_and(|n: u64| (least..=most).contains(&n))
        {
            return Err(Problem::bad_request(format!("{name} is a whole number from {least} to {most}")));
        }
        if value.len() > LONGEST_VALUE || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(Problem::bad_request(format!("{name} has letters, digits, '-', '_' and '.' alone")));
        }
        read.push((param.name, value.to_owned()));
    }
    Ok(read)
}

/// The largest whole number below which a double has every other.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Bytes of a value in a query: names and ids have 64 at most.
const LONGEST_VALUE: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TAKEN: &[Param] =
        &[Param { name: "limit", range: Some((1, 10)), about: "" }, Param { name: "stream", range: None, about: "" }];

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Body(#[serde(deserialize_with = "whole")] u64);
        let read = |text| serde_json::from_str::<Body>(text).ok().map(|body| body.0);
        assert_eq!((read("7"), read("7.0"), read("1e3")), (Some(7), Some(7), Some(1_000)));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
        for wrong in ["-1", "7.5", "1e300", "-0.5", "\"7\"", "null"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_query_is_what_the_route_takes() {
        let read = |query| read_query(query, TAKEN);
        assert_eq!(read("limit=3&stream=a-b").unwrap(), [("limit", "3".to_owned()), ("stream", "a-b".to_owned())]);
        assert!(read("").unwrap().is_empty());
        for wrong in ["limit=0", "limit=11", "limit=x", "limit=", "limit=1&limit=2", "other=1", "stream=a%20b"] {
            assert_eq!(read(wrong).unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
