//! Calls about keys and links: list, make, rotate, revoke. A secret is in the one answer that makes it, and nowhere else.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, done, json, whole};
use super::routes::Answering;
use super::{Operator, millis};
use crate::access::{self, KeyError, KeyGrant, KeyId, KeyInfo, PlayClaims, StreamPattern};
use crate::http::body::Body;
use crate::http::problem::Problem;

/// All keys.
#[derive(JsonSchema, Serialize)]
pub(super) struct List {
    #[schemars(with = "Vec<KeyShown>")]
    keys: Vec<KeyInfo>,
}

/// A key, as [`KeyInfo`] writes itself.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it stands for the shape alone")]
struct KeyShown {
    id: String,
    label: String,
    /// A name or pattern; null opens every name.
    stream: Option<String>,
    /// `publish` or `play`.
    grant: String,
    made_ms: Option<u64>,
    used_ms: Option<u64>,
    /// `config` or `stored`.
    origin: String,
}

/// The body that makes a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// A name or pattern; none opens every name.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1, max = 129), regex(pattern = r"^[A-Za-z0-9._*-]+$"))]
    stream: Option<StreamPattern>,
    /// `publish`, which it is by default, or `play`.
    #[serde(default)]
    #[schemars(with = "Grants")]
    grant: KeyGrant,
    /// What the operator calls it: at most 100 characters on one line.
    #[serde(default)]
    #[schemars(length(max = 100), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    label: String,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "it stands for the shape alone")]
enum Grants {
    Publish,
    Play,
}

/// A key that was made, and its secret.
#[derive(JsonSchema, Serialize)]
pub(super) struct Made {
    #[serde(flatten)]
    #[schemars(with = "KeyShown")]
    key: KeyInfo,
    secret: String,
}

/// The body that makes a link.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLink {
    /// A name or pattern.
    #[schemars(with = "String", length(min = 1, max = 129), regex(pattern = r"^[A-Za-z0-9._*-]+$"))]
    stream: StreamPattern,
    /// How long it is good for, in seconds, at most ten years.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 315_360_000))]
    expires_s: u64,
    /// The one address that may use it.
    #[serde(default)]
    #[schemars(with = "Option<Address>")]
    address: Option<IpAddr>,
    /// Viewers at a time; 0 sets no limit.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(max = 1_000_000))]
    sessions: u64,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it stands for the shape alone")]
enum Address {
    V4(std::net::Ipv4Addr),
    V6(std::net::Ipv6Addr),
}

/// A link that opens a stream.
#[derive(JsonSchema, Serialize)]
pub(super) struct Link {
    /// In front of every path of the viewers' listener: `/s/TOKEN`.
    prefix: String,
    /// To the playlist, for players; None for a pattern.
    url: Option<String>,
    /// To the watch page; None for a pattern.
    watch: Option<String>,
    expires_ms: u64,
}

/// `POST /api/v1/play-urls`
pub(super) fn link(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let NewLink { stream, expires_s, address, sessions } = call.json()?;
    if !(1..=LONGEST_LINK).contains(&expires_s) {
        return Err(Problem::bad_request(format!("expires_s is from 1 to {LONGEST_LINK}")));
    }
    let sessions = u32::try_from(sessions).ok().filter(|sessions| *sessions <= MOST_SESSIONS);
    let sessions = sessions.ok_or_else(|| Problem::bad_request(format!("sessions is from 0 to {MOST_SESSIONS}")))?;
    let expires = SystemTime::now() + Duration::from_secs(expires_s);
    let name = stream.name();
    let claims = PlayClaims { address, sessions, ..PlayClaims::new(stream.clone(), expires) };
    let prefix = format!("/s/{}", operator.access.sign_play(&claims));
    let base = format!("{}{prefix}", operator.reach.public_url);
    operator.noted(call, "operator.link.make", stream.as_str(), Ok(()))?;
    let link = Link {
        url: name.as_ref().map(|name| format!("{base}/live/{name}/index.m3u8")),
        watch: name.as_ref().map(|name| format!("{base}/watch/{name}")),
        prefix,
        expires_ms: millis(expires),
    };
    json(StatusCode::OK, &link)
}

/// `GET /api/v1/keys`
pub(super) fn list(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &List { keys: operator.access.keys() })
}

/// `POST /api/v1/keys`
pub(super) fn make<'a>(operator: &'a Operator, call: &'a Call) -> Answering<'a> {
    Box::pin(async move {
        let NewKey { stream, grant, label } = call.json()?;
        let made = operator.access.make_key(access::NewKey { stream, grant, label }).await;
        let id = made.as_ref().map_or_else(|_| String::new(), |made| made.key.id.to_string());
        let made = operator.noted(call, "operator.key.make", &id, made.map_err(problem))?;
        json(StatusCode::CREATED, &shown(made))
    })
}

/// `POST /api/v1/keys/{id}/rotate`
pub(super) fn rotate<'a>(operator: &'a Operator, call: &'a Call) -> Answering<'a> {
    Box::pin(async move {
        let made = operator.access.rotate_key(&KeyId::new(call.first())).await;
        let made = operator.noted(call, "operator.key.rotate", call.first(), made.map_err(problem))?;
        json(StatusCode::OK, &shown(made))
    })
}

/// `DELETE /api/v1/keys/{id}`
pub(super) fn revoke<'a>(operator: &'a Operator, call: &'a Call) -> Answering<'a> {
    Box::pin(async move {
        let revoked = operator.access.revoke_key(&KeyId::new(call.first())).await;
        operator.noted(call, "operator.key.revoke", call.first(), revoked.map_err(problem))?;
        Ok(done())
    })
}

fn shown(made: access::Made) -> Made {
    Made { key: made.key, secret: made.secret.reveal().to_owned() }
}

fn problem(error: KeyError) -> Problem {
    let status = match error {
        KeyError::TooMany(_) | KeyError::Configured(_) => StatusCode::CONFLICT,
        KeyError::Label => StatusCode::BAD_REQUEST,
        KeyError::Unknown(_) => StatusCode::NOT_FOUND,
        KeyError::Write(_) | KeyError::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}

/// Viewers of one link at a time.
const MOST_SESSIONS: u32 = 1_000_000;
/// Seconds: ten years.
const LONGEST_LINK: u64 = 10 * 365 * 24 * 3600;
