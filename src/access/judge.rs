//! How a question is judged: address, patience, what was shown; and what becomes of the answer: counted, told, remembered.

use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::json;

use super::jwt::{self, Claims};
use super::webhook::Webhook;
use super::{Action, BadLink, BadToken, From, Grant, KeyGrant, Operator, Policy, Refused, Shared, StreamName};
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
            Action::Play => self.judge_viewer(question, name, shown).await,
            _ => self.judge_publisher(question, name, shown).await,
        }?;
        self.seat(question, &policy, &mut grant)?;
        Ok(grant)
    }

    /// Judges a publisher who shows a secret and no name.
    pub(super) async fn judge_bare(&self, question: Question<'_>, shown: &str) -> Result<Grant, Refused> {
        let policy = self.policy();
        self.pass(question, &policy)?;
        let mut grant = match (self.keys.names(KeyGrant::Publish, shown), self.webhook(question)) {
            (Some((key, stream)), _) => Grant { key: Some(key), ..Grant::open(stream) },
            // A name without anything, which the webhook may know.
            (None, Some(webhook)) => ask(webhook, question, &StreamName::new(shown)?, None).await?,
            (None, None) => return Err(Refused::Key),
        };
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
        if is_it {
            return Ok(Operator { who: "the admin token".to_owned() });
        }
        let claims = self.claims(question, None, Some(token)).await;
        let who = |claims: Claims| Operator { who: claims.sub.unwrap_or_else(|| "a token".to_owned()) };
        claims.map_or(Err(Refused::Admin), |claims| claims.map(who).map_err(Refused::Token))
    }

    /// Nobody can show anything that lets them publish: whoever is on this machine may.
    pub(super) fn is_open(&self) -> bool {
        let asked = self.webhook.as_ref().is_some_and(|webhook| webhook.is_for(Action::Publish));
        !asked && self.tokens.is_none() && !self.keys.any(KeyGrant::Publish)
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
            // Who watches by HLS asks with every request, and is counted as a viewer elsewhere.
            Ok(_) if from.protocol == "hls" => return judged,
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

    async fn judge_publisher(
        &self,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Result<Grant, Refused> {
        if self.is_open() {
            let local = question.from.address.to_canonical().is_loopback();
            return if local { Ok(Grant::open(name.clone())) } else { Err(Refused::NotLocal) };
        }
        let opened = self.opened(question, name, shown).await.unwrap_or(Err(Refused::Key));
        self.or_ask(opened, question, name, shown).await
    }

    async fn judge_viewer(
        &self,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Result<Grant, Refused> {
        // A link says until when and for whom, also where nobody would need one.
        if let Some(link) = shown.and_then(|shown| self.links.read(shown)) {
            link.opens(name.as_str(), question.from.address, SystemTime::now())?;
            let key = link.claims.key.clone();
            if key.as_ref().is_some_and(|key| !self.keys.has(key)) {
                return Err(BadLink::Withdrawn.into());
            }
            return Ok(Grant { key, link: Some(Box::new(link)), ..Grant::open(name.clone()) });
        }
        if !self.is_private(name) && self.webhook(question).is_none() {
            return Ok(Grant::open(name.clone()));
        }
        let opened = self.opened(question, name, shown).await.unwrap_or(Err(Refused::Private));
        self.or_ask(opened, question, name, shown).await
    }

    /// The webhook has the last word on what nothing else opened.
    async fn or_ask(
        &self,
        opened: Result<Grant, Refused>,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Result<Grant, Refused> {
        match self.webhook(question).filter(|_| opened.is_err()) {
            Some(webhook) => ask(webhook, question, name, shown).await,
            None => opened,
        }
    }

    /// The webhook, if it is asked about this.
    fn webhook(&self, question: Question<'_>) -> Option<&Webhook> {
        self.webhook.as_ref().filter(|webhook| webhook.is_for(question.action))
    }

    /// What a token or a key opens; None where neither was shown that is known here.
    async fn opened(
        &self,
        question: Question<'_>,
        name: &StreamName,
        shown: Option<&str>,
    ) -> Option<Result<Grant, Refused>> {
        if let Some(claims) = self.claims(question, Some(name), shown).await {
            let granted = |claims: Claims| Grant { expires: claims.expires(), ..Grant::open(name.clone()) };
            return Some(claims.map(granted).map_err(Refused::Token));
        }
        let grant = if question.action == Action::Play { KeyGrant::Play } else { KeyGrant::Publish };
        let key = self.keys.fits(grant, name, shown?)?;
        Some(Ok(Grant { key: Some(key), ..Grant::open(name.clone()) }))
    }

    /// What a token says, if one was shown and can be known here, and if it allows this.
    async fn claims(
        &self,
        Question { action, from }: Question<'_>,
        stream: Option<&StreamName>,
        shown: Option<&str>,
    ) -> Option<Result<Claims, BadToken>> {
        let (tokens, token) = self.tokens.as_ref().zip(shown.filter(|shown| jwt::is_token(shown)))?;
        let read = Box::pin(tokens.read(token)).await;
        Some(read.and_then(|claims| claims.allow(action, stream, from.address).map(|()| claims)))
    }

    /// Takes a place for a session that lasts. Viewers by HLS have no connection that could hold one.
    fn seat(&self, question: Question<'_>, policy: &Policy, grant: &mut Grant) -> Result<(), Refused> {
        let Some(most) = policy.sessions.filter(|_| LASTING.contains(&question.from.protocol)) else { return Ok(()) };
        grant.seat = Some(self.seats.take(question.from.address, most).ok_or(Refused::Sessions(most))?);
        Ok(())
    }
}

async fn ask(
    webhook: &Webhook,
    Question { action, from }: Question<'_>,
    name: &StreamName,
    shown: Option<&str>,
) -> Result<Grant, Refused> {
    let until = Box::pin(webhook.ask(action, name, shown, from)).await?;
    Ok(Grant { expires: Some(until), ..Grant::open(name.clone()) })
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
