//! How a question is judged: address, patience, what was shown; and what becomes of the answer: counted, told, remembered.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use serde_json::json;

use super::{Action, From, Grant, KeyGrant, Operator, Policy, Refused, Shared, StreamName};
use crate::metrics::{ACCESS_GRANTED, ACCESS_REFUSED};

/// Who wants to do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) action: Action,
    pub(super) from: &'a From,
}

impl Shared {
    /// Judges who wants to publish or watch a stream.
    pub(super) async fn judge(
        &self,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Result<Grant, Refused> {
        let policy = self.policy();
        self.pass(question, &policy)?;
        let mut grant = match question.action {
            Action::Play => self.judge_viewer(name, shown),
            _ => self.judge_publisher(question, name, shown),
        }?;
        self.seat(question, &policy, &mut grant)?;
        Ok(grant)
    }

    /// Judges a publisher who shows a secret and no name.
    pub(super) fn judge_bare(&self, question: Question<'_>, shown: &str) -> Result<Grant, Refused> {
        let policy = self.policy();
        self.pass(question, &policy)?;
        let (key, stream) = self.keys.names(KeyGrant::Publish, shown).ok_or(Refused::Key)?;
        let mut grant = Grant { key: Some(key), ..Grant::open(stream) };
        self.seat(question, &policy, &mut grant)?;
        Ok(grant)
    }

    /// Judges who wants to change the server.
    pub(super) async fn judge_operator(&self, question: Question<'_>, token: &str) -> Result<Operator, Refused> {
        let policy = self.policy();
        self.pass(question, &policy)?;
        let is_it = match (&policy.admin_token, &self.admin) {
            (Some(configured), _) => configured.matches(token),
            (None, Some(kept)) => kept.is(token),
            (None, None) => false,
        };
        if is_it { Ok(Operator { who: "the admin token".to_owned() }) } else { Err(Refused::Admin) }
    }

    /// Nobody can show anything that lets them publish: whoever is on this machine may.
    pub(super) fn is_open(&self) -> bool {
        !self.keys.any(KeyGrant::Publish)
    }

    /// Whether a stream is not for everybody.
    pub(super) fn is_private(&self, name: &StreamName) -> bool {
        let listed = self.policy().private.iter().any(|streams| streams.matches(name.as_str()));
        listed || self.keys.any_for(KeyGrant::Play, name)
    }

    /// Counts and tells. `stream`: what was asked for, where it is certainly no secret; `shown`: a key was.
    pub(super) fn settle<T>(
        &self,
        question: Question<'_>,
        stream: Option<&str>,
        shown: bool,
        judged: Result<T, Refused>,
    ) -> Result<T, Refused> {
        let Question { action, from } = question;
        let refused = match &judged {
            Ok(_) => {
                metrics::counter!(ACCESS_GRANTED, "action" => action.name()).increment(1);
                return judged;
            }
            Err(refused) => refused,
        };
        metrics::counter!(ACCESS_REFUSED, "action" => action.name(), "reason" => refused.reason()).increment(1);
        let now = Instant::now();
        if shown && refused.is_guess() {
            self.attempts.failed(from.address, action, self.policy().patience, now);
        }
        if let Some(count) = self.attempts.refused(from.address, action, now) {
            let stream = stream.filter(|name| StreamName::check(name).is_ok());
            let (address, protocol, reason) = (from.address.to_canonical(), from.protocol, refused.to_string());
            tracing::warn!(%address, protocol, stream, action = action.name(), count, reason, "refused");
            let about = json!({ "address": address, "protocol": protocol, "reason": reason, "count": count });
            self.events.say(kind(action), stream, about);
        }
        judged
    }

    /// Tells of refusals of addresses that came no more.
    pub(super) fn tell_untold(&self) {
        for (address, action, count) in self.attempts.untold(Instant::now()) {
            tracing::warn!(%address, action = action.name(), count, "refused");
            self.events.say(kind(action), None, json!({ "address": address, "count": count }));
        }
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What an address alone decides.
    fn pass(&self, Question { action, from }: Question<'_>, policy: &Policy) -> Result<(), Refused> {
        if !policy.gate(action).lets(from.address) {
            return Err(Refused::Address);
        }
        // Whole seconds, never zero.
        let wait = self.attempts.wait(from.address, action, Instant::now());
        wait.map_or(Ok(()), |wait| Err(Refused::TooMany(wait.as_secs() + 1)))
    }

    fn judge_publisher(
        &self,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Result<Grant, Refused> {
        if self.is_open() {
            let local = question.from.address.to_canonical().is_loopback();
            return if local { Ok(Grant::open(name.clone())) } else { Err(Refused::NotLocal) };
        }
        self.opened(KeyGrant::Publish, name, shown).ok_or(Refused::Key)
    }

    fn judge_viewer(&self, name: &StreamName, shown: Option<&str>) -> Result<Grant, Refused> {
        if !self.is_private(name) {
            return Ok(Grant::open(name.clone()));
        }
        self.opened(KeyGrant::Play, name, shown).ok_or(Refused::Private)
    }

    /// What a key opens.
    fn opened(&self, grant: KeyGrant, name: &StreamName, shown: Option<&str>) -> Option<Grant> {
        let key = self.keys.fits(grant, name, shown?)?;
        Some(Grant { key: Some(key), ..Grant::open(name.clone()) })
    }

    /// Takes a place for a session that lasts. Viewers by HLS have no connection that could hold one.
    fn seat(&self, question: Question<'_>, policy: &Policy, grant: &mut Grant) -> Result<(), Refused> {
        let Some(most) = policy.sessions.filter(|_| LASTING.contains(&question.from.protocol)) else { return Ok(()) };
        grant.seat = Some(self.seats.take(question.from.address, most).ok_or(Refused::Sessions(most))?);
        Ok(())
    }
}

fn kind(action: Action) -> &'static str {
    match action {
        Action::Publish => "publish.refused",
        Action::Play => "play.refused",
        Action::Administer => "operator.refused",
    }
}

/// Protocols whose sessions hold their place.
const LASTING: [&str; 4] = ["rtmp", "rtmps", "whip", "whep"];
