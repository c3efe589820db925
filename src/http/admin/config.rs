//! Calls about the configuration: every option as it stands, trying changes, and making them.

use std::collections::BTreeMap;

use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operator;
use super::call::{Call, json};
use super::routes::Answering;
use crate::config::{Applied, Checked, OptionInfo};
use crate::http::body::Body;
use crate::http::problem::Problem;

/// The configuration that holds.
#[derive(JsonSchema, Serialize)]
pub(super) struct Configuration {
    /// The file that was read.
    file: Option<String>,
    options: Vec<OptionInfo>,
}

/// The body of a change.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    /// Values by option, as they are typed on the command line; null removes what was set here before.
    changes: BTreeMap<String, Option<String>>,
}

/// What changes would do.
pub(super) type Tried = Checked;

/// What they did.
pub(super) type Made = Applied;

/// `GET /api/v1/config`
pub(super) fn show(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    let file = operator.control.file().map(|file| file.display().to_string());
    json(StatusCode::OK, &Configuration { file, options: operator.control.effective() })
}

/// `POST /api/v1/config/validate`
pub(super) fn validate(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let Changes { changes } = call.json()?;
    json(StatusCode::OK, &operator.control.validate(&changes))
}

/// `POST /api/v1/config/apply`
pub(super) fn apply<'a>(operator: &'a Operator, call: &'a Call) -> Answering<'a> {
    Box::pin(async move {
        let Changes { changes } = call.json()?;
        let target = changes.keys().cloned().collect::<Vec<_>>().join(" ");
        let control = operator.control.clone();
        // A small file is written.
        let made = tokio::task::spawn_blocking(move || control.apply(&changes)).await;
        let made = made.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let refused = made.checked.errors.first().map(|wrong| Problem::bad_request(wrong.problem.clone()));
        // What is wrong with each is in the answer; the audit log has the first.
        let _ = operator.noted(call, "operator.config.apply", &target, refused.map_or(Ok(()), Err));
        json(StatusCode::OK, &made)
    })
}
