//! Who may watch, asked with every request of a viewer: whether the page that plays is welcome, and whether `access` lets
//! this client have this stream. What is shown stands in the path (`/s/TOKEN/...`), in the Authorization header, or in the
//! query as `token`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use hyper::Response;
use hyper::header::{self, HeaderValue};

use super::asked::Asked;
use super::body::Body;
use super::error::Error;
use super::referrers::Referrers;
use super::route::Route;
use super::viewers::Pass;
use crate::access::{self, Access, BadLink, BadToken, Grant, PlayLink, Refused, StreamName};

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) access: Access,
    pub(super) referrers: Referrers,
}

/// Somebody who was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// None where nobody needs one.
    grant: Option<Grant>,
    place: Place,
}

/// Where stood what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It was not needed.
    Nowhere,
    /// In the path: another address has it, or lacks it.
    Path,
    /// Where caches do not look.
    Elsewhere,
}

impl Gate {
    /// Lets somebody in to a stream, or says why not.
    pub(super) async fn admit(&self, name: &str, asked: &Asked) -> Result<Admitted, Error> {
        let (shown, place) = shown(asked);
        if shown.is_none() && self.access.plays_freely(name, peer(asked)) {
            return Ok(Admitted { grant: None, place });
        }
        let name = StreamName::new(name).map_err(|bad| Error::NotFound(bad.to_string().into()))?;
        let from = access::From {
            referrer: asked.referrer.as_deref().map(str::to_owned),
            user_agent: asked.agent.as_deref().map(str::to_owned),
            ..access::From::new(peer(asked), "hls")
        };
        // On the heap: what may ask others is large, and most requests do not come here.
        let judged = Box::pin(self.access.play(&name, shown, &from)).await;
        let grant = judged.map_err(|refused| refusal(&refused, shown.is_some()))?;
        let place = match (&grant.link, &grant.key, grant.expires) {
            // A token may be for one address, and a webhook decides by it: caches must not decide in their place.
            (None, None, Some(_)) => Place::Elsewhere,
            (None, None, None) => Place::Nowhere,
            _ => place,
        };
        Ok(Admitted { place, grant: Some(grant) })
    }

    /// Whether somebody who was let in may still have the answer that they waited for.
    pub(super) fn holds(&self, admitted: &Admitted) -> Result<(), Error> {
        let Some(Grant { key, link, .. }) = &admitted.grant else { return Ok(()) };
        let over = link.as_ref().is_some_and(|link| SystemTime::now() >= link.claims.expires);
        let withdrawn = key.as_ref().is_some_and(|key| !self.access.stands(key));
        match (over, withdrawn) {
            (true, _) => Err(Error::Forbidden(BadLink::Expired.to_string().into())),
            (_, true) => Err(Error::Forbidden(BadLink::Withdrawn.to_string().into())),
            _ => Ok(()),
        }
    }
}

impl Admitted {
    /// Keeps shared caches from giving to others what one was let in to.
    pub(super) fn fence(&self, route: &Route<'_>, response: &mut Response<Body>) {
        let bound = self.link().is_some_and(|link| link.claims.address.is_some());
        let private = match self.place {
            Place::Nowhere => return,
            Place::Path => bound,
            Place::Elsewhere => true,
        };
        let control = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let Some(ours) = control.and_then(|control| control.strip_prefix("public, ")) else { return };
        let scope = if private { "private" } else { "public" };
        let control = match (route, self.left()) {
            // A cache may keep media for as long as the link opens it, and playlists change sooner anyway.
            (Route::Media { .. }, Some(left)) => format!("{scope}, max-age={}, immutable", left.as_secs().min(YEAR)),
            _ => format!("{scope}, {ours}"),
        };
        if let Ok(control) = HeaderValue::try_from(control) {
            response.headers_mut().insert(header::CACHE_CONTROL, control);
        }
    }

    /// What bounds the number of viewers who were let in alike.
    pub(super) fn pass(&self) -> Option<Pass> {
        let link = self.link()?;
        Some(Pass { tag: link.tag, most: link.claims.sessions as usize })
    }

    fn link(&self) -> Option<&PlayLink> {
        self.grant.as_ref()?.link.as_deref()
    }

    fn left(&self) -> Option<Duration> {
        let link = self.link()?;
        Some(link.claims.expires.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// The far end, as access knows it.
pub(super) fn peer(asked: &Asked) -> IpAddr {
    asked.peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()).to_canonical()
}

fn shown(asked: &Asked) -> (Option<&str>, Place) {
    if let Some(token) = asked.token() {
        return (Some(token), Place::Path);
    }
    let query = || asked.query()?.split('&').find_map(|pair| pair.strip_prefix("token="));
    match asked.bearer.as_deref().or_else(query) {
        Some(token) => (Some(token), Place::Elsewhere),
        None => (None, Place::Nowhere),
    }
}

fn refusal(refused: &Refused, shown: bool) -> Error {
    let why = refused.to_string();
    match refused {
        Refused::Name(_) => Error::NotFound(why.into()),
        Refused::Private if shown => Error::Forbidden("this link or key does not open the stream".into()),
        Refused::Private => Error::Unauthorized(why.into()),
        Refused::TooMany(_) | Refused::Sessions(_) => Error::TooMany(why.into()),
        Refused::Unavailable | Refused::Token(BadToken::Unavailable) => Error::Undecided(why.into()),
        _ => Error::Forbidden(why.into()),
    }
}

const YEAR: u64 = 31_536_000;
