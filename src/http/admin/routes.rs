//! Every call that the admin API has: its path, what it takes, what it gives, and who answers it. The one table that both
//! the dispatch and the OpenAPI document are made from.

use std::future::Future;
use std::pin::Pin;

use hyper::{Method, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::call::Call;
use super::{Operator, account, config, events, keys, openapi, process, sessions, streams};
use crate::http::body::Body;
use crate::http::problem::Problem;

/// One call.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// With `{...}` in place of what varies.
    pub(super) path: &'static str,
    /// What it does, in a line.
    pub(super) about: &'static str,
    /// Whether it asks for no identity.
    pub(super) open: bool,
    /// What its query may have.
    pub(super) query: &'static [Param],
    /// The shape of its body.
    pub(super) takes: Option<Shape>,
    pub(super) gives: Gives,
    /// Statuses of its refusals, beside those that every call may have.
    pub(super) refuses: &'static [u16],
    pub(super) run: Run,
}

/// The methods that calls have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    /// As HTTP has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.name() == method.as_str() || (self == Verb::Get && *method == Method::HEAD)
    }
}

/// A parameter of a query.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    /// The least and the largest number; None for a text.
    pub(super) range: Option<(u64, u64)>,
    pub(super) about: &'static str,
}

/// What a good answer has.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    /// JSON of a shape, with this status.
    Json(u16, Shape),
    /// No body: 204.
    Nothing,
    /// No body yet: 202.
    Accepted,
    /// A stream of server-sent events.
    Events,
    /// A picture.
    Jpeg,
}

/// The schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Who answers.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// At once.
    Now(fn(&Operator, &Call) -> Result<Response<Body>, Problem>),
    /// After a wait.
    Later(for<'a> fn(&'a Operator, &'a Call) -> Answering<'a>),
}

/// An answer to come.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, Problem>> + Send + 'a>>;

/// What a path and a method lead to.
pub(super) enum Found {
    /// A call, and what stands in the place of its `{...}`.
    Route(&'static Route, Vec<String>),
    /// The path is known, with other methods.
    OtherMethods(String),
    Nothing,
}

/// Looks a call up.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(params) = params(route.path, path) else { continue };
        if route.verb.takes(method) {
            return Found::Route(route, params);
        }
        others.push(route.verb.name());
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others.join(", ")) }
}

/// What stands in the place of a pattern's `{...}`, if the path fits it.
fn params(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(params),
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {
                params.push(found.to_owned())
            }
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

const fn get(path: &'static str, about: &'static str, gives: Gives, run: Run) -> Route {
    Route { verb: Verb::Get, path, about, open: false, query: &[], takes: None, gives, refuses: &[], run }
}

const fn post(path: &'static str, about: &'static str, gives: Gives, run: Run) -> Route {
    Route { verb: Verb::Post, ..get(path, about, gives, run) }
}

const fn delete(path: &'static str, about: &'static str, run: Run) -> Route {
    Route { verb: Verb::Delete, refuses: &[404], ..get(path, about, Gives::Nothing, run) }
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn one<T: JsonSchema>() -> Gives {
    Gives::Json(200, shape::<T>)
}

const OFFSET: Param = Param { name: "offset", range: Some((0, 1_000_000)), about: "How many to leave out." };
const LIMIT: Param = Param { name: "limit", range: Some((1, 1_000)), about: "How many to give at most." };
const STREAM: Param = Param { name: "stream", range: None, about: "Of this stream alone." };
const PROTOCOL: Param =
    Param { name: "protocol", range: None, about: "Of this protocol alone: rtmp, whip, whep or hls." };
const AFTER: Param =
    Param { name: "after", range: Some((0, u64::MAX)), about: "Events with greater ids; Last-Event-ID says the same." };

const AT: Param = Param {
    name: "at",
    range: Some((0, u64::MAX)),
    about: "Any number: another one for another picture, past a cache.",
};

/// All calls.
pub(super) static ROUTES: &[Route] = &[
    Route {
        open: true,
        takes: Some(shape::<account::Login>),
        refuses: &[400, 413, 415],
        ..post("/api/v1/login", "Exchanges the admin token for a cookie.", Gives::Nothing, Run::Later(account::log_in))
    },
    post("/api/v1/logout", "Ends the login of the cookie.", Gives::Nothing, Run::Now(account::log_out)),
    get("/api/v1/me", "How the caller is known.", one::<account::Me>(), Run::Now(account::me)),
    get("/api/v1/version", "Which server this is.", one::<process::Version>(), Run::Now(process::version)),
    get("/api/v1/server", "How the server does.", one::<process::ServerShown>(), Run::Now(process::server)),
    get(
        "/api/v1/server/history",
        "Its last five minutes, second by second.",
        one::<process::History>(),
        Run::Now(process::history),
    ),
    get("/api/v1/encoders", "What this machine encodes with.", one::<process::Encoders>(), Run::Now(process::encoders)),
    post(
        "/api/v1/drain",
        "Takes no new work, and ends when viewers have finished.",
        Gives::Accepted,
        Run::Now(process::drain),
    ),
    Route {
        query: &[OFFSET, LIMIT],
        ..get("/api/v1/streams", "What is live.", one::<streams::List>(), Run::Now(streams::list))
    },
    Route {
        refuses: &[404],
        ..get("/api/v1/streams/{stream}", "One stream.", one::<streams::StreamShown>(), Run::Now(streams::one))
    },
    Route {
        refuses: &[404],
        ..get(
            "/api/v1/streams/{stream}/history",
            "Its last five minutes, second by second.",
            one::<streams::History>(),
            Run::Now(streams::history),
        )
    },
    Route {
        query: &[AT],
        refuses: &[404],
        ..get("/api/v1/streams/{stream}/still.jpg", "A recent picture of it.", Gives::Jpeg, Run::Now(streams::still))
    },
    Route {
        refuses: &[404],
        ..post("/api/v1/streams/{stream}/end", "Ends it.", Gives::Nothing, Run::Now(streams::end))
    },
    Route {
        refuses: &[404, 409],
        ..post(
            "/api/v1/streams/{stream}/kick",
            "Closes its publisher, which may come back.",
            Gives::Nothing,
            Run::Now(streams::kick),
        )
    },
    Route {
        takes: Some(shape::<streams::Mark>),
        refuses: &[400, 404, 413, 415],
        ..post(
            "/api/v1/streams/{stream}/mark",
            "Puts a mark among its events.",
            Gives::Nothing,
            Run::Now(streams::mark),
        )
    },
    Route {
        refuses: &[400, 404, 409],
        ..post(
            "/api/v1/streams/{stream}/rungs/{rung}/{order}",
            "Holds a rung on (start) or off (stop), or leaves it to its viewers again (auto).",
            Gives::Nothing,
            Run::Now(streams::rung),
        )
    },
    Route {
        query: &[STREAM, PROTOCOL, OFFSET, LIMIT],
        ..get("/api/v1/sessions", "Who publishes and who watches.", one::<sessions::List>(), Run::Now(sessions::list))
    },
    delete("/api/v1/sessions/{id}", "Ends a session.", Run::Now(sessions::end)),
    get(
        "/api/v1/keys",
        "The keys that open streams, without their secrets.",
        one::<keys::List>(),
        Run::Now(keys::list),
    ),
    Route {
        takes: Some(shape::<keys::NewKey>),
        refuses: &[400, 409, 413, 415],
        ..post(
            "/api/v1/keys",
            "Makes a key; its secret is shown this once.",
            Gives::Json(201, shape::<keys::Made>),
            Run::Later(keys::make),
        )
    },
    Route {
        refuses: &[404, 409],
        ..post(
            "/api/v1/keys/{id}/rotate",
            "Gives a key another secret; the old one is worth nothing at once.",
            one::<keys::Made>(),
            Run::Later(keys::rotate),
        )
    },
    Route {
        refuses: &[404, 409],
        ..delete("/api/v1/keys/{id}", "Revokes a key, and ends what it opened.", Run::Later(keys::revoke))
    },
    Route {
        takes: Some(shape::<keys::NewLink>),
        refuses: &[400, 413, 415],
        ..post(
            "/api/v1/play-urls",
            "Makes a link that opens a stream to viewers.",
            one::<keys::Link>(),
            Run::Now(keys::link),
        )
    },
    get(
        "/api/v1/config",
        "Every option, and where its value comes from.",
        one::<config::Configuration>(),
        Run::Now(config::show),
    ),
    Route {
        takes: Some(shape::<config::Changes>),
        refuses: &[400, 413, 415],
        ..post(
            "/api/v1/config/validate",
            "What changes would do, without making them.",
            one::<config::Tried>(),
            Run::Now(config::validate),
        )
    },
    Route {
        takes: Some(shape::<config::Changes>),
        refuses: &[400, 413, 415],
        ..post(
            "/api/v1/config/apply",
            "Makes changes: at once where that can be, else from the next start.",
            one::<config::Made>(),
            Run::Later(config::apply),
        )
    },
    Route {
        query: &[LIMIT],
        ..get(
            "/api/v1/audit",
            "Who changed what, the newest first.",
            one::<account::AuditList>(),
            Run::Now(account::audit),
        )
    },
    Route {
        query: &[STREAM, AFTER],
        ..get("/api/v1/events", "What happens, as it happens.", Gives::Events, Run::Now(events::follow))
    },
    get("/api/v1/live", "All streams once a second, as far as they changed.", Gives::Events, Run::Now(events::live)),
    Route {
        open: true,
        ..get("/api/v1/openapi.json", "This document.", one::<serde_json::Value>(), Run::Now(openapi::document))
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_calls() {
        let found = |method: Method, path: &str| match find(&method, path) {
            Found::Route(route, params) => format!("{} {params:?}", route.path),
            Found::OtherMethods(others) => others,
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found(Method::GET, "/api/v1/streams/show"), "/api/v1/streams/{stream} [\"show\"]");
        assert_eq!(found(Method::HEAD, "/api/v1/streams"), "/api/v1/streams []");
        assert_eq!(found(Method::GET, "/api/v1/streams/"), "nothing");
        assert_eq!(found(Method::PUT, "/api/v1/keys"), "GET, POST");
        assert_eq!(
            found(Method::POST, "/api/v1/streams/show/rungs/720p/stop"),
            "/api/v1/streams/{stream}/rungs/{rung}/{order} [\"show\", \"720p\", \"stop\"]"
        );
    }

    #[test]
    fn no_two_calls_are_the_same() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(route.path.starts_with("/api/v1/") && route.about.ends_with('.'), "{}", route.path);
            let twin = ROUTES[..at].iter().find(|other| other.path == route.path && other.verb == route.verb);
            assert!(twin.is_none(), "{:?} {}", route.verb, route.path);
        }
    }
}
