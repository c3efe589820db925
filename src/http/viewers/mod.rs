//! Who watches. An HLS player is known by the id that its multivariant playlist gave it: it comes with every request for a
//! media playlist, so that two players behind one address are two, and one player is one through every change of address.
//! No playlist, part or segment depends on it, and who asks without one is served and counted by nobody. `server` makes
//! [`Viewers`]; the edge tells it of requests, the operator's listener shows what it knows.

mod id;
mod news;
mod table;
mod whep;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use metrics::{counter, gauge};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::asked::Asked;
use super::directives::Directives;
use super::error::Error;
use crate::access::{Grant, PlaySecret, network};
use crate::events::Events;
use crate::hls::Hls;
use crate::metrics as names;
use crate::webrtc::{Client, WebRtc};
use id::{Ids, ViewerId};
use news::{Kind, News};
pub(super) use table::Pass;
use table::{Full, Limits, Newcomer, Session, Table};
use whep::Guests;

/// What is counted and what is bounded.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Multivariant playlists give every player an id.
    pub ids: bool,
    /// Viewers of one stream at a time; 0 sets no limit.
    pub per_stream: usize,
    /// Viewers of one address at a time, over all streams; 0 sets no limit.
    pub per_address: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { ids: true, per_stream: 0, per_address: 0 }
    }
}

/// How many watch one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// HLS players with an id.
    pub hls: u64,
    /// Those of them that ask for parts before they are there; up to a second old.
    pub low_latency: u64,
    /// WebRTC sessions whose media flows.
    pub whep: u64,
    /// The most at a time, both together, since the stream was first watched.
    pub peak: u64,
}

/// One HLS viewer.
#[derive(Clone, Debug)]
pub struct ViewerInfo {
    /// For [`Viewers::kick`].
    pub id: String,
    /// The stream's name.
    pub stream: String,
    /// The address that it first asked from.
    pub peer: IpAddr,
    /// What the player calls itself.
    pub client: String,
    /// Its first request.
    pub since: SystemTime,
    /// Since its last request.
    pub silent: Duration,
    /// The media playlist that it asked for last.
    pub rendition: String,
    /// Its player asks for parts before they are there.
    pub low_latency: bool,
}

/// All who watch. Cheap to clone; all clones know the same.
#[derive(Clone, Debug)]
pub struct Viewers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    ids: Ids,
    table: Table,
    guests: Guests,
    news: News,
    webrtc: Option<WebRtc>,
    began: Instant,
}

impl Viewers {
    /// With nobody watching yet.
    pub fn new(policy: Policy, secret: &PlaySecret, webrtc: Option<WebRtc>, events: Events) -> Viewers {
        let (ids, table, news) = (Ids::new(secret), Table::new(), News::new(events));
        let shared = Shared { policy, ids, table, guests: Guests::default(), news, webrtc, began: Instant::now() };
        Viewers { shared: Arc::new(shared) }
    }

    /// How many watch a stream.
    pub fn count(&self, stream: &str) -> Counts {
        let whep = self.over_webrtc(stream) as u64;
        let Some(audience) = self.shared.table.audience(stream) else {
            return Counts { whep, peak: whep, ..Counts::default() };
        };
        let hls = audience.now.load(Relaxed) as u64;
        let low_latency = hls.min(audience.low_latency.load(Relaxed) as u64);
        Counts { hls, low_latency, whep, peak: (hls + whep).max(audience.peak.load(Relaxed) as u64) }
    }

    /// How many watch anything. With how low a latency is only known of each stream.
    pub fn total(&self) -> Counts {
        let hls = self.shared.table.all() as u64;
        let whep = self.shared.webrtc.as_ref().map_or(0, WebRtc::all_viewers) as u64;
        Counts { hls, whep, peak: hls + whep, low_latency: 0 }
    }

    /// HLS viewers, of one stream where one is named, who came first first: `limit` of them after `offset`; and how many
    /// there are in all.
    pub fn list(&self, stream: Option<&str>, offset: usize, limit: usize) -> (Vec<ViewerInfo>, usize) {
        let mut sessions = self.shared.table.sessions(stream);
        sessions.sort_unstable_by_key(|session| (session.since, session.id));
        let now = self.now();
        let page = sessions.iter().skip(offset).take(limit).map(|session| ViewerInfo {
            id: session.id.to_string(),
            stream: session.audience.stream.to_string(),
            peer: session.peer,
            client: session.agent.to_string(),
            since: session.since,
            silent: Duration::from_millis(now.saturating_sub(session.seen())),
            rendition: session.rendition().into(),
            low_latency: session.low_latency(),
        });
        (page.collect(), sessions.len())
    }

    /// Ends the session of a viewer, over HLS or WebRTC: its requests are refused for as long as players try again. False
    /// for nobody.
    pub fn kick(&self, id: &str) -> bool {
        let Some(id) = ViewerId::read(id) else {
            let webrtc = self.shared.webrtc.as_ref();
            return webrtc.is_some_and(|webrtc| {
                webrtc.session(id).is_some_and(|shot| shot.protocol == "whep")
                    && webrtc.end(id, "the operator ended this session", false)
            });
        };
        let Some(session) = self.shared.table.kick(&id, self.now()) else { return false };
        counter!(names::VIEWERS_REFUSED, "reason" => "kicked").increment(1);
        self.left(&session);
        true
    }

    /// Forgets who has gone, and tells of it. `hls`: what is on the air, and how often its players ask. Run once, until
    /// dropped.
    pub async fn keep(self, hls: Hls) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = Watched { hls: 0.0, whep: 0.0, at: Instant::now() };
        loop {
            tick.tick().await;
            self.shared.table.streams(|stream| {
                let other = self.over_webrtc(stream);
                let target = hls.target_duration(stream).unwrap_or(USUAL_TARGET);
                let patience = (target * SILENT_TARGETS).as_millis() as u64;
                (other, (other > 0 || hls.on_air(stream)).then_some(patience))
            });
            for session in self.shared.table.sweep(self.now()) {
                self.left(&session);
            }
            self.look_at_guests();
            self.shared.news.flush();
            watched.count(&self.total());
        }
    }

    /// An id for whoever fetches a multivariant playlist of a stream: the one that it shows, if it is one. None where none
    /// are given.
    pub(super) fn name(&self, stream: &str, shown: Option<&str>) -> Result<Option<String>, Error> {
        if !self.shared.policy.ids {
            return Ok(None);
        }
        let known = shown.and_then(ViewerId::read).filter(|id| self.shared.ids.made(id, stream));
        if known.is_some_and(|id| self.shared.table.find(&id).is_some_and(|session| session.is_kicked())) {
            return Err(KICKED);
        }
        Ok(known.or_else(|| self.shared.ids.make(stream)).map(|id| id.to_string()))
    }

    /// A request for a media playlist; the answer may have to be waited for. None for who shows no id.
    pub(super) fn attend(
        &self,
        (stream, rendition): (&str, &str),
        Directives { viewer: shown, reload }: Directives<'_>,
        pass: Option<Pass>,
        asked: &Asked,
    ) -> Result<Option<Present>, Error> {
        let Some(id) = shown.and_then(ViewerId::read).filter(|_| self.shared.policy.ids) else {
            return self.without_id(stream, pass);
        };
        let now = self.now();
        let session = match self.shared.table.find(&id) {
            Some(session) if *session.audience.stream == *stream => session,
            Some(_) => return self.without_id(stream, pass),
            None if !self.shared.ids.made(&id, stream) => return self.without_id(stream, pass),
            None => {
                let peer = asked.peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()).to_canonical();
                let agent = asked.agent.as_deref().unwrap_or_default();
                let newcomer = Newcomer { id, stream, peer, agent, rendition, pass };
                match self.shared.table.join(&newcomer, &self.limits(stream, peer), now) {
                    Ok((session, new)) => {
                        if new {
                            self.joined(&session);
                        }
                        session
                    }
                    Err(Full::Table) if !self.is_limited() => return Ok(None),
                    Err(full) => return Err(refused(full)),
                }
            }
        };
        if session.is_kicked() {
            return Err(KICKED);
        }
        session.begin(rendition, reload.msn.is_some(), now);
        Ok(Some(Present { viewers: self.clone(), session }))
    }

    /// Whether there is room for one more viewer over WebRTC.
    pub(super) fn room(&self, stream: &str, peer: IpAddr) -> Result<(), Error> {
        let Policy { per_stream, per_address, .. } = self.shared.policy;
        if per_stream > 0 {
            let Counts { hls, whep, .. } = self.count(stream);
            if hls + whep >= per_stream as u64 {
                return Err(refused(Full::Stream(per_stream)));
            }
        }
        if per_address > 0 && self.shared.table.from(network(peer)) + self.near(peer) >= per_address {
            return Err(refused(Full::Network(per_address)));
        }
        Ok(())
    }

    /// The offer of a viewer over WebRTC was answered.
    pub(super) fn offered(&self, id: &str, grant: &Grant, client: &Client) {
        let ends = grant.link.as_ref().map(|link| link.claims.expires);
        self.shared.guests.offered(id, grant.stream.as_str(), (client.peer.ip(), &client.agent), ends);
    }

    fn look_at_guests(&self) {
        let Some(webrtc) = &self.shared.webrtc else { return };
        let changes = self.shared.guests.look(SystemTime::now(), |id| webrtc.is_connected(id));
        for id in changes.over {
            webrtc.end(&id, "the link has expired", false);
        }
        let told = |kind, (id, guest): (String, whep::Guest)| {
            self.shared.news.say(
                kind,
                "whep",
                &guest.stream,
                || json!({ "protocol": "whep", "id": id, "peer": guest.peer, "client": guest.agent }),
            );
            guest.stream
        };
        for guest in changes.joined {
            counter!(names::VIEWER_SESSIONS, "protocol" => "whep").increment(1);
            self.shared.table.watched(&told(Kind::Joined, guest));
        }
        for guest in changes.left {
            told(Kind::Left, guest);
        }
    }

    /// Who shows no id is not counted, so it cannot be let in where counts are limited.
    fn without_id(&self, stream: &str, pass: Option<Pass>) -> Result<Option<Present>, Error> {
        let limited = self.is_limited() || pass.is_some_and(|pass| pass.most > 0);
        if self.shared.policy.ids && limited {
            let why = format!(
                "the number of viewers is limited; begin at /live/{stream}/index.m3u8 and follow its addresses"
            );
            return Err(Error::Forbidden(why.into()));
        }
        Ok(None)
    }

    fn is_limited(&self) -> bool {
        self.shared.policy.per_stream > 0 || self.shared.policy.per_address > 0
    }

    fn limits(&self, stream: &str, peer: IpAddr) -> Limits {
        let Policy { per_stream, per_address, .. } = self.shared.policy;
        let elsewhere = (
            if per_stream > 0 { self.over_webrtc(stream) } else { 0 },
            if per_address > 0 { self.near(peer) } else { 0 },
        );
        Limits { per_stream, per_network: per_address, elsewhere }
    }

    fn over_webrtc(&self, stream: &str) -> usize {
        self.shared.webrtc.as_ref().map_or(0, |webrtc| webrtc.viewers(stream))
    }

    fn near(&self, peer: IpAddr) -> usize {
        self.shared.webrtc.as_ref().map_or(0, |webrtc| webrtc.viewers_from(peer))
    }

    fn joined(&self, session: &Session) {
        counter!(names::VIEWER_SESSIONS, "protocol" => "hls").increment(1);
        self.shared.news.say(Kind::Joined, "hls", &session.audience.stream, || {
            json!({ "protocol": "hls", "id": session.id.to_string(), "peer": session.peer, "client": session.agent })
        });
    }

    fn left(&self, session: &Session) {
        self.shared.news.say(Kind::Left, "hls", &session.audience.stream, || {
            let seconds = session.since.elapsed().unwrap_or_default().as_secs();
            json!({ "protocol": "hls", "id": session.id.to_string(), "peer": session.peer, "seconds": seconds })
        });
    }

    /// Milliseconds of this process.
    fn now(&self) -> u64 {
        self.shared.began.elapsed().as_millis() as u64
    }
}

/// One request of a viewer, until it is answered or its client is gone.
#[derive(Debug)]
pub(super) struct Present {
    viewers: Viewers,
    session: Arc<Session>,
}

impl Present {
    /// Whether the viewer may still have the answer that it waited for.
    pub(super) fn still(&self) -> Result<(), Error> {
        if self.session.is_kicked() { Err(KICKED) } else { Ok(()) }
    }

    /// There is nothing to watch: nobody is a viewer of it.
    pub(super) fn over(&self) {
        if self.viewers.shared.table.remove(&self.session) {
            self.viewers.left(&self.session);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.session.end(self.viewers.now());
    }
}

/// Time that was watched, until it is whole seconds.
struct Watched {
    hls: f64,
    whep: f64,
    at: Instant,
}

impl Watched {
    fn count(&mut self, counts: &Counts) {
        let passed = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        for (protocol, count, sum) in [("hls", counts.hls, &mut self.hls), ("whep", counts.whep, &mut self.whep)] {
            gauge!(names::VIEWERS, "protocol" => protocol).set(count as f64);
            *sum += count as f64 * passed;
            counter!(names::VIEWER_SECONDS, "protocol" => protocol).increment(*sum as u64);
            *sum = sum.fract();
        }
    }
}

fn refused(full: Full) -> Error {
    let (reason, error) = match full {
        Full::Stream(most) => ("stream", Error::NoRoom(format!("this stream has its {most} viewers").into())),
        Full::Network(most) => {
            ("address", Error::TooMany(format!("{most} viewers at a time may watch from one address").into()))
        }
        Full::Pass(most) => ("pass", Error::TooMany(format!("{most} viewers at a time may use this link").into())),
        Full::Table => ("table", Error::NoRoom("the server knows as many viewers as it can".into())),
    };
    counter!(names::VIEWERS_REFUSED, "reason" => reason).increment(1);
    error
}

const KICKED: Error = Error::Forbidden(std::borrow::Cow::Borrowed("the operator ended this viewing session"));
/// How often it is looked who has gone.
const TICK: Duration = Duration::from_secs(1);
/// A player asks at least once a target duration; after so many without a request it is gone.
const SILENT_TARGETS: u32 = 3;
/// Where a stream's is not known.
const USUAL_TARGET: Duration = Duration::from_secs(6);
