//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) over HTTP: offers and answers, candidates, farewells. Knows
//! nothing of media; asks `webrtc`.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::json;

use super::body::Body;
use super::cors::Origins;
use super::edge::Readiness;
use super::problem::Problem;
use super::referrers::Referrers;
use super::route;
use super::taken;
use super::viewers::Viewers;
use crate::access::{Access, BadToken, From, Grant, Refused, StreamName};
use crate::current::Current;
use crate::doctor::Doctor;
use crate::hub::PublishError;
use crate::webrtc::{Answered, Client, Patched, Refusal, Snapshot, WebRtc};

/// Both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client's.
    pub(super) peer: SocketAddr,
    /// Ours.
    pub(super) local: SocketAddr,
}

/// What answers WHIP and WHEP requests.
#[derive(Clone, Debug)]
pub struct Signalling {
    /// Where sessions are made.
    pub webrtc: WebRtc,
    /// Who may publish.
    pub access: Access,
    /// What publishers are told of their streams.
    pub doctor: Option<Doctor>,
    /// What clients are told, and how long they may wait.
    pub offers: Current<Offers>,
}

/// What is the same for all offers until it is changed.
#[derive(Clone, Debug)]
pub struct Offers {
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<IceServer>,
    /// A viewer of a stream that is off the air waits for it so long.
    pub wait: Duration,
}

/// What else answers depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) origins: &'a Origins,
    pub(super) readiness: &'a Readiness,
    pub(super) viewers: &'a Viewers,
    pub(super) referrers: &'a Referrers,
}

/// A STUN or TURN server, RFC 9725 section 4.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:...` or `turn:...`.
    pub url: String,
    /// Of TURN.
    pub username: String,
    /// Of TURN.
    pub credential: String,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// `/whip/NAME` or `/whep/NAME`
    Endpoint(Protocol, &'a str),
    /// `/whip/NAME/ID`
    Session(Protocol, &'a str, &'a str),
    /// `/whip/NAME/ID/status`
    Status(Protocol, &'a str),
    /// With a slash too many: where it should go.
    Slashed(Protocol, &'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Whip,
    Whep,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Whip => "whip",
            Protocol::Whep => "whep",
        }
    }
}

/// Whether a path is one of these.
pub(super) fn is_ours(path: &str) -> bool {
    path.starts_with("/whip/") || path.starts_with("/whep/")
}

impl Signalling {
    /// Answers a request for one of our paths.
    pub(super) async fn respond(&self, request: Request<Incoming>, ends: Ends, around: Around<'_>) -> Response<Body> {
        let origin = request.headers().get(header::ORIGIN).and_then(|o| HeaderValue::from_bytes(o.as_bytes()).ok());
        let served = self.serve(request, ends, &around).await;
        let mut response = served.unwrap_or_else(Problem::response);
        around.origins.open(origin.as_ref(), response.headers_mut());
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        ends: Ends,
        Around { readiness, viewers, referrers, .. }: &Around<'_>,
    ) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let (token, path) = route::prefix(head.uri.path()).map_or((None, head.uri.path()), |(t, rest)| (Some(t), rest));
        let place = place(path)?;
        if token.is_some() && path.starts_with("/whip/") {
            return Err(Problem::new(StatusCode::NOT_FOUND, "links are for viewers; publish without one"));
        }
        match (place, head.method.clone()) {
            (Place::Slashed(..), _) => Err(Problem::new(StatusCode::TEMPORARY_REDIRECT, "without the slash")
                .with(header::LOCATION, head.uri.path().trim_end_matches('/'))),
            (Place::Endpoint(protocol, _), Method::OPTIONS) => Ok(self.options(protocol, ENDPOINT_METHODS)),
            (Place::Session(protocol, ..) | Place::Status(protocol, _), Method::OPTIONS) => {
                Ok(self.options(protocol, SESSION_METHODS))
            }
            (Place::Endpoint(protocol, name), Method::POST) => {
                if !readiness.is_ready() {
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
                        .with(header::RETRY_AFTER, "1"));
                }
                let name = StreamName::new(name).map_err(|bad| Problem::new(StatusCode::NOT_FOUND, bad.to_string()))?;
                let grant = self.admit(protocol, &name, &head, token, ends.peer.ip()).await?;
                if protocol == Protocol::Whep {
                    let said = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
                    let own = head.uri.authority().map(|own| own.as_str()).or_else(|| said(header::HOST));
                    referrers
                        .judge(said(header::REFERER).or_else(|| said(header::ORIGIN)), own)
                        .map_err(Problem::from)?;
                    viewers.room(name.as_str(), ends.peer.ip()).map_err(Problem::from)?;
                }
                expect(&head.headers, "application/sdp")?;
                let offer = taken::text(body).await?;
                let client = Client { key: grant.key.clone(), seat: grant.seat.clone(), ..client(&head.headers, ends) };
                let answered = match protocol {
                    Protocol::Whip => self.webrtc.publish(&name, &offer, &client, head.uri.query() == Some("test")),
                    Protocol::Whep => {
                        let rung = head
                            .uri
                            .query()
                            .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("rung=")));
                        self.webrtc.play(&name, &offer, &client, self.offers.get().wait, rung).await
                    }
                };
                let answered = answered.map_err(problem)?;
                if protocol == Protocol::Whep {
                    viewers.offered(&answered.id, &grant, &client);
                }
                Ok(self.created(protocol, &name, answered))
            }
            (Place::Session(_, name, id), Method::PATCH) => {
                self.of_stream(name, id)?;
                expect(&head.headers, FRAGMENT)?;
                let etag = if_match(&head.headers)?;
                let body = taken::text(body).await?;
                let patched = self.webrtc.patch(id, etag.as_deref(), &body, &client(&head.headers, ends));
                Ok(self.patched(patched.map_err(problem)?))
            }
            (Place::Session(_, name, id), Method::DELETE) => {
                self.of_stream(name, id)?;
                self.webrtc.end(id, "the client ended the session", true);
                Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", String::new()))
            }
            (Place::Status(_, id), Method::GET) => {
                let shot = self.webrtc.session(id).ok_or_else(|| problem(Refusal::Gone))?;
                Ok(answer(StatusCode::OK, "application/json", self.shown(&shot)))
            }
            (Place::Endpoint(..), _) => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "post an offer here")
                .with(header::ALLOW, ENDPOINT_METHODS)),
            _ => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "a session takes PATCH and DELETE")
                .with(header::ALLOW, SESSION_METHODS)),
        }
    }

    /// How a session goes; for a publisher also what is wrong with the stream.
    fn shown(&self, shot: &Snapshot) -> String {
        let mut value = json!(shot);
        if let Some(doctor) = self.doctor.as_ref().filter(|_| shot.protocol == Protocol::Whip.name()) {
            value["findings"] = json!(doctor.findings(&shot.stream));
        }
        value.to_string()
    }

    /// A session's address has its stream's name: another name is another address.
    fn of_stream(&self, name: &str, id: &str) -> Result<(), Problem> {
        let shot = self.webrtc.session(id).filter(|shot| shot.stream == name);
        shot.map(drop).ok_or_else(|| problem(Refusal::Gone))
    }

    /// Asks whether this client may publish or watch.
    async fn admit(
        &self,
        protocol: Protocol,
        name: &StreamName,
        head: &request::Parts,
        signed: Option<&str>,
        peer: IpAddr,
    ) -> Result<Grant, Problem> {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let token = signed.or_else(|| text(header::AUTHORIZATION).and_then(bearer));
        let from = From {
            referrer: text(header::REFERER).map(str::to_owned),
            user_agent: text(header::USER_AGENT).map(str::to_owned),
            ..From::new(peer, protocol.name())
        };
        let judged = match protocol {
            Protocol::Whip => self.access.publish_with(name, token, &from).await,
            Protocol::Whep => self.access.play(name, token.or_else(|| query_token(head.uri.query())), &from).await,
        };
        judged.map_err(|refused| refusal(&refused))
    }

    fn options(&self, protocol: Protocol, methods: &'static str) -> Response<Body> {
        let mut response = answer(StatusCode::NO_CONTENT, "application/sdp", String::new());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        headers.insert(ACCEPT_POST, HeaderValue::from_static("application/sdp"));
        headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ASKED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        if protocol == Protocol::Whep || self.access.is_open() {
            self.links(headers);
        }
        response
    }

    fn created(&self, protocol: Protocol, name: &StreamName, answered: Answered) -> Response<Body> {
        let mut response = answer(StatusCode::CREATED, "application/sdp", answered.sdp);
        let headers = response.headers_mut();
        let location = format!("/{}/{name}/{}", protocol.name(), answered.id);
        for (name, value) in [(header::LOCATION, location), (header::ETAG, answered.etag)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
        self.links(headers);
        response
    }

    fn patched(&self, patched: Patched) -> Response<Body> {
        match patched {
            Patched::Noted => {
                let mut response = answer(StatusCode::NO_CONTENT, FRAGMENT, String::new());
                response.headers_mut().remove(header::CONTENT_TYPE);
                response
            }
            Patched::Restarted(fragment, etag) => {
                let mut response = answer(StatusCode::OK, FRAGMENT, fragment);
                if let Ok(etag) = HeaderValue::from_str(&etag) {
                    response.headers_mut().insert(header::ETAG, etag);
                }
                response
            }
        }
    }

    fn links(&self, headers: &mut HeaderMap) {
        for server in &self.offers.get().ice_servers {
            let mut link = format!("<{}>; rel=\"ice-server\"", server.url);
            if !server.username.is_empty() {
                // Writing to a text cannot fail.
                let _ = write!(
                    link,
                    "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                    server.username, server.credential
                );
            }
            if let Ok(mut link) = HeaderValue::from_str(&link) {
                link.set_sensitive(true);
                headers.append(header::LINK, link);
            }
        }
    }
}

fn place(path: &str) -> Result<Place<'_>, Problem> {
    let nothing = || Problem::new(StatusCode::NOT_FOUND, "nothing is at this address");
    let mut parts = path.split('/').skip(1);
    let protocol = match parts.next() {
        Some("whip") => Protocol::Whip,
        Some("whep") => Protocol::Whep,
        _ => return Err(nothing()),
    };
    let name = parts.next().unwrap_or_default();
    StreamName::check(name).map_err(|bad| Problem::new(StatusCode::NOT_FOUND, bad.to_string()))?;
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Ok(Place::Endpoint(protocol, name)),
        (Some(""), None, _) => Ok(Place::Slashed(protocol, name)),
        (Some(id), None, _) => Ok(Place::Session(protocol, name, id)),
        (Some(id), Some("status"), None) => Ok(Place::Status(protocol, id)),
        _ => Err(nothing()),
    }
}

fn refusal(refused: &Refused) -> Problem {
    let detail = refused.to_string();
    let unknown = |detail: &str| {
        Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, "Bearer realm=\"headwater\"")
    };
    let problem = match refused {
        Refused::Key => unknown(WRONG_KEY),
        Refused::Unavailable | Refused::Token(BadToken::Unavailable) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
        Refused::Token(BadToken::Grant | BadToken::Stream | BadToken::Address) => {
            Problem::new(StatusCode::FORBIDDEN, detail)
        }
        Refused::Private | Refused::Admin | Refused::Token(_) => unknown(&detail),
        Refused::NotLocal | Refused::Address | Refused::Link(_) | Refused::Webhook(_) => {
            Problem::new(StatusCode::FORBIDDEN, detail)
        }
        Refused::TooMany(_) | Refused::Sessions(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, detail),
        Refused::Name(_) => Problem::new(StatusCode::NOT_FOUND, detail),
    };
    match refused.retry_after() {
        Some(seconds) => problem.with(header::RETRY_AFTER, seconds.to_string()),
        None => problem,
    }
}

/// Players that cannot set a header have it in the address.
fn query_token(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn problem(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Offer(_) | Refusal::Fragment => Problem::new(StatusCode::BAD_REQUEST, detail),
        Refusal::NoCodec(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
        Refusal::Publish(PublishError::Busy { .. }) => Problem::new(StatusCode::CONFLICT, detail),
        Refusal::Publish(_) | Refusal::Full(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(header::RETRY_AFTER, "5")
        }
        Refusal::OffAir(_) => Problem::new(StatusCode::NOT_FOUND, detail).with(header::RETRY_AFTER, "2"),
        Refusal::Gone => Problem::new(StatusCode::NOT_FOUND, detail),
        Refusal::Changed(ref etag) => Problem::new(StatusCode::PRECONDITION_FAILED, detail).with(header::ETAG, etag),
        Refusal::Internal(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
    }
}

/// RFC 9725 section 4.3.2: the entity tag for candidates, a star for a restart; without one nothing is done.
fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    match headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim()) {
        None => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "say If-Match: the session's entity tag for candidates, * for an ICE restart",
        )),
        Some("*") => Ok(None),
        Some(etag) => Ok(Some(etag.to_owned())),
    }
}

fn expect(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if said.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let accept = if wanted == FRAGMENT { ACCEPT_PATCH } else { ACCEPT_POST };
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be {wanted}")).with(accept, wanted))
}

fn client(headers: &HeaderMap, ends: Ends) -> Client {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    Client {
        peer: SocketAddr::new(ends.peer.ip().to_canonical(), ends.peer.port()),
        local: Some(ends.local.ip().to_canonical()),
        agent: agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect(),
        key: None,
        seat: None,
    }
}

/// RFC 6750 section 2.1.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::one(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const WRONG_KEY: &str = "wrong stream key; send it as a bearer token (in OBS: the Bearer Token field)";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ENDPOINT_METHODS: &str = "POST, OPTIONS";
const SESSION_METHODS: &str = "PATCH, DELETE, OPTIONS";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate");
/// By name: a star does not stand for Authorization (Fetch standard, section 3.3.3).
const ASKED: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, If-Match");
/// Characters of a client's name.
const LONGEST_AGENT: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_name_endpoints_and_sessions() {
        for (path, expected) in [
            ("/whip/show", Place::Endpoint(Protocol::Whip, "show")),
            ("/whep/show/", Place::Slashed(Protocol::Whep, "show")),
            ("/whip/show/abc", Place::Session(Protocol::Whip, "show", "abc")),
            ("/whep/show/abc/status", Place::Status(Protocol::Whep, "abc")),
        ] {
            assert_eq!(place(path).unwrap(), expected, "{path}");
        }
        for path in ["/whip/", "/whip/.hidden", "/whip/a b", "/whep/show/abc/status/x", "/whep/show/abc/other"] {
            assert_eq!(place(path).unwrap_err().status, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn bearer_tokens_are_read_as_rfc_6750_has_them() {
        assert_eq!((bearer("Bearer abc"), bearer("bearer  abc ")), (Some("abc"), Some("abc")));
        assert_eq!((bearer("Basic abc"), bearer("abc")), (None, None));
    }
}
