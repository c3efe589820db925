//! Calls that go on: what happens, and the list of streams, as server-sent events. Each listener has a task of its own and
//! a channel of a few messages: one that is slow misses something and is told so, and holds nobody up.

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::json;
use tokio::sync::mpsc;

use super::call::Call;
use super::meters::Listening;
use super::{Operator, millis};
use crate::events::Event;
use crate::http::body::Body;
use crate::http::problem::Problem;

/// `GET /api/v1/events`
pub(super) fn follow(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let said = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let events = operator.events.clone();
    let mut seen = said.unwrap_or_else(|| call.number("after", events.newest()));
    let stream = call.asked("stream").map(str::to_owned);
    let over = operator.over.clone();
    let (listener, body) = mpsc::channel(WAITING);
    let listening = Listening::to("events");
    tokio::spawn(over.run_until_cancelled_owned(async move {
        let _listening = listening;
        loop {
            let page = events.after(seen, PAGE);
            let mut text = if page.lost { "event: lost\ndata: {}\n\n".to_owned() } else { String::new() };
            let fits =
                |event: &&std::sync::Arc<Event>| stream.is_none() || event.stream.as_deref() == stream.as_deref();
            page.events.iter().filter(fits).for_each(|event| text.push_str(&message(event)));
            seen = page.events.last().map_or(seen, |event| event.id);
            if !text.is_empty() && listener.send(Bytes::from(text)).await.is_err() {
                return;
            }
            if page.events.len() == PAGE {
                continue;
            }
            tokio::select! {
                () = listener.closed() => return,
                () = events.beyond(seen) => {}
                () = tokio::time::sleep(HEARTBEAT) => if listener.send(ALIVE).await.is_err() { return },
            }
        }
    }));
    Ok(streaming(body))
}

/// `GET /api/v1/live`
pub(super) fn live(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    let mut ticks = operator.board.follow();
    let over = operator.over.clone();
    let (listener, body) = mpsc::channel(1);
    let listening = Listening::to("live");
    tokio::spawn(over.run_until_cancelled_owned(async move {
        let _listening = listening;
        let mut seen = None;
        loop {
            let tick = ticks.borrow_and_update().clone();
            if listener.send(tick.message(seen)).await.is_err() {
                return;
            }
            seen = Some(tick.number);
            tokio::select! {
                () = listener.closed() => return,
                changed = ticks.changed() => if changed.is_err() { return },
            }
        }
    }));
    Ok(streaming(body))
}

fn streaming(body: mpsc::Receiver<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::open(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would gather events into its buffers.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn message(event: &Event) -> String {
    let Event { id, at, stream, kind, data } = event;
    let text = json!({ "id": id, "at_ms": millis(*at), "stream": stream.as_deref(), "kind": kind, "data": data });
    format!("id: {id}\nevent: happened\ndata: {text}\n\n")
}

/// Messages that wait for a listener.
const WAITING: usize = 4;
/// Events of one message.
const PAGE: usize = 256;
/// A listener hears something at least so often: proxies close what is silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);
const ALIVE: Bytes = Bytes::from_static(b": alive\n\n");
