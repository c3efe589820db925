//! What viewers are answered: one request in, one response out. Decides nothing about media; asks the [`Source`].

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use metrics::{Gauge, Histogram};

use super::asked::Asked;
use super::body::Body;
use super::connection::{Respond, Signal};
use super::cors::Origins;
use super::counters::{Counters, Kind};
use super::edge::Readiness;
use super::error::Error;
use super::gate::{Admitted, Gate};
use super::pages::Pages;
use super::route::{self, Route};
use super::signalling::{self, Around, Ends, Signalling};
use super::viewers::Viewers;
use super::{Source, directives, media, playlist, still};
use crate::hls::Refusal;
use crate::traces;

/// Everything an answer to a viewer is made from.
#[derive(Debug)]
pub(super) struct Viewer<S> {
    pub(super) source: S,
    pub(super) pages: Arc<Pages>,
    pub(super) origins: Origins,
    pub(super) counters: Arc<Counters>,
    pub(super) readiness: Readiness,
    pub(super) viewers: Viewers,
    pub(super) gate: Gate,
    /// None where WebRTC is off.
    pub(super) signalling: Option<Signalling>,
}

impl<S: Source> Respond for Arc<Viewer<S>> {
    fn takes(&self, path: &str) -> bool {
        self.signalling.is_some() && signalling::is_ours(route::unsigned(path))
    }

    fn signal(&self, request: Request<Incoming>, ends: Ends) -> Signal {
        let viewer = self.clone();
        Box::pin(async move {
            let Some(signalling) = &viewer.signalling else { return Error::Draining.response() };
            let around = Around {
                origins: &viewer.origins,
                readiness: &viewer.readiness,
                viewers: &viewer.viewers,
                referrers: &viewer.gate.referrers,
            };
            let response = signalling.respond(request, ends, around).await;
            viewer.counters.request(Kind::Signalling, response.status());
            response
        })
    }

    async fn respond(&self, asked: &Asked) -> Response<Body> {
        let mut kind = Kind::None;
        let answer = match admitted(asked) {
            Ok(()) if asked.method == Method::OPTIONS => Ok(self.origins.preflight(asked.origin.as_ref())),
            Ok(()) => self.answer(asked, &mut kind).await,
            Err(error) => Err(error),
        };
        let mut response = answer.unwrap_or_else(|error| error.response());
        if asked.path().starts_with("/live/") && asked.method != Method::OPTIONS {
            self.origins.open(asked.origin.as_ref(), response.headers_mut());
        }
        if asked.method == Method::HEAD {
            behead(&mut response);
        }
        self.counters.request(kind, response.status());
        response
    }
}

impl<S: Source> Viewer<S> {
    async fn answer(&self, asked: &Asked, kind: &mut Kind) -> Result<Response<Body>, Error> {
        let route = Route::of(asked.path())?;
        *kind = Kind::from(&route);
        if asked.token().is_some() && !route.is_of_a_stream() {
            return Err(Error::NotFound("nothing is at this address behind a signed prefix".into()));
        }
        match route {
            Route::Home => self.pages.page("home.html", false, asked),
            Route::Watch => self.pages.page("watch.html", false, asked),
            Route::Embed => {
                self.gate.referrers.admit(asked)?;
                let mut page = self.pages.page("embed.html", true, asked)?;
                self.gate.referrers.fence(&mut page);
                Ok(page)
            }
            Route::Publish => self.pages.studio("publish.html", asked),
            Route::Asset(path) => self.pages.file(path, asked),
            Route::Alive => Ok(plain("ok\n")),
            Route::Ready => self.readiness.response(),
            Route::Multivariant { name } | Route::Still { name } => self.of_stream(&route, name, asked).await,
            Route::Playlist { name, .. } | Route::Media { name, .. } => self.of_stream(&route, name, asked).await,
        }
    }

    /// What only those may have who may watch: when they ask, and when they are answered.
    async fn of_stream(&self, route: &Route<'_>, name: &str, asked: &Asked) -> Result<Response<Body>, Error> {
        if matches!(route, Route::Multivariant { .. } | Route::Playlist { .. }) {
            self.gate.referrers.admit(asked)?;
        }
        let admitted = self.gate.admit(name, asked).await?;
        let mut response = match *route {
            Route::Multivariant { name } => self.multivariant(name, asked).await,
            Route::Playlist { name, rendition } => self.playlist((name, rendition), &admitted, asked).await,
            Route::Media { name, epoch, rendition, file } => {
                let media = self.held(pin!(self.source.media(name, epoch, rendition, file))).await?;
                traces::sent(asked.path());
                media::response(media, asked)
            }
            _ => Ok(still::response(self.source.still(name)?, asked)),
        }?;
        self.gate.holds(&admitted)?;
        admitted.fence(route, &mut response);
        Ok(response)
    }

    async fn multivariant(&self, name: &str, asked: &Asked) -> Result<Response<Body>, Error> {
        let directives = directives::read(asked.query())?;
        let rendered = self.held(pin!(self.source.multivariant(name, directives.reload.plain))).await?;
        Ok(match self.viewers.name(name, directives.viewer)? {
            Some(id) => playlist::personal(&rendered, &id, asked),
            None => playlist::response(&rendered, asked),
        })
    }

    async fn playlist(
        &self,
        (name, rendition): (&str, &str),
        admitted: &Admitted,
        asked: &Asked,
    ) -> Result<Response<Body>, Error> {
        let directives = directives::read(asked.query())?;
        let present = self.viewers.attend((name, rendition), directives, admitted.pass(), asked)?;
        let rendered = self.held(pin!(self.source.playlist(name, rendition, directives.reload))).await;
        if let Some(present) = &present {
            present.still()?;
            if matches!(rendered, Err(Refusal::NotFound(_))) {
                present.over();
            }
        }
        Ok(playlist::response(&rendered?, asked))
    }

    /// Waits for an answer; shows it as held when it does not come at once.
    async fn held<T>(&self, mut answer: Pin<&mut impl Future<Output = T>>) -> T {
        let at_once = std::future::poll_fn(|cx| {
            Poll::Ready(match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
        });
        if let Some(answer) = at_once.await {
            return answer;
        }
        let _held = Held::new(&self.counters.held, &self.counters.wait);
        answer.await
    }
}

/// A small text of our own.
pub(super) fn plain(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::one(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The methods we serve, none of which has a use for a body.
pub(super) fn admitted(asked: &Asked) -> Result<(), Error> {
    match asked.method {
        Method::GET | Method::HEAD | Method::OPTIONS if asked.has_body => Err(Error::BodyRefused),
        Method::GET | Method::HEAD | Method::OPTIONS => Ok(()),
        _ => Err(Error::MethodNotAllowed),
    }
}

/// Makes the answer to GET into the one to HEAD: the length is said, the bytes are not sent.
pub(super) fn behead(response: &mut Response<Body>) {
    let length = response.body().left();
    *response.body_mut() = Body::empty();
    if length > 0 {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// One held request in the gauge, until it is answered or its client goes away; then its time is counted.
struct Held<'a> {
    gauge: &'a Gauge,
    wait: &'a Histogram,
    since: Instant,
}

impl<'a> Held<'a> {
    fn new(gauge: &'a Gauge, wait: &'a Histogram) -> Held<'a> {
        gauge.increment(1.0);
        Held { gauge, wait, since: Instant::now() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        self.wait.record(self.since.elapsed());
    }
}
