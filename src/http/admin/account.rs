//! Calls about the caller: login, logout, who it is; and the audit log of what callers changed.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operator;
use super::audit::Entry;
use super::call::{Call, done, json};
use super::identity::{Who, set_cookie};
use super::routes::Answering;
use crate::http::body::Body;
use crate::http::problem::Problem;

/// The body of a login.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The admin token.
    token: String,
}

/// How a caller is known.
#[derive(JsonSchema, Serialize)]
pub(super) struct Me {
    /// `cookie` or `token`.
    via: &'static str,
}

/// What was changed.
#[derive(JsonSchema, Serialize)]
pub(super) struct AuditList {
    entries: Vec<Entry>,
}

/// `POST /api/v1/login`
pub(super) fn log_in<'a>(operator: &'a Operator, call: &'a Call) -> Answering<'a> {
    Box::pin(async move {
        let Login { token } = call.json()?;
        let value = operator.identity.log_in(&token, &call.headers, call.peer).await?;
        operator.audit.note((Who::Cookie, call.peer), "operator.login", "", Ok(()));
        // Behind a proxy that speaks TLS for us, only the proxy knows; it says so.
        let secure = call.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Ok(with_cookie(&set_cookie(&value, secure)))
    })
}

/// `POST /api/v1/logout`
pub(super) fn log_out(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    operator.identity.log_out(&call.headers);
    Ok(with_cookie(&set_cookie("", false)))
}

/// `GET /api/v1/me`
pub(super) fn me(_: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let via = if call.who == Who::Cookie { "cookie" } else { "token" };
    json(StatusCode::OK, &Me { via })
}

/// `GET /api/v1/audit`
pub(super) fn audit(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let entries = operator.audit.newest(call.number("limit", 100) as usize).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the audit log cannot be read: {error}"))
    })?;
    json(StatusCode::OK, &AuditList { entries })
}

fn with_cookie(cookie: &str) -> Response<Body> {
    let mut response = done();
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
