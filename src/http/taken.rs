//! The body of a request, where one counts: read to its end, within bounds of size and time. For the admin API, WHIP and WHEP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;

use super::problem::Problem;

/// All of it.
pub(super) async fn body(mut body: Incoming) -> Result<Bytes, Problem> {
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::bad_request(error.to_string()))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if bytes.len() > LARGEST {
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 64 KiB"));
            }
        }
        Ok(bytes.freeze())
    };
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    tokio::time::timeout(PATIENCE, read).await.map_err(late)?
}

/// All of it, as UTF-8.
pub(super) async fn text(incoming: Incoming) -> Result<String, Problem> {
    String::from_utf8(body(incoming).await?.into()).map_err(|_| Problem::bad_request("the body is no text"))
}

/// Bytes of a body.
const LARGEST: usize = 64 * 1024;
/// A body is here within this time.
const PATIENCE: Duration = Duration::from_secs(10);
