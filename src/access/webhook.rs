//! The webhook that is asked who may do what: one signed POST for each question that neither key nor token has answered.
//! Answers are kept for a while; a server that does not answer is left alone for a while; no answer is a refusal.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::secret::{Digest, hex};
use super::{Action, From, Refused, Secret, StreamName};
use crate::fetch::{Fetch, NoAuthorities, Target};

/// Who is asked, and how.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where.
    pub target: Target,
    /// What questions are signed with; None signs none.
    pub secret: Option<Secret>,
    /// What is asked about.
    pub actions: Vec<Action>,
    /// For a whole answer.
    pub timeout: Duration,
    /// So long a permission is kept.
    pub cache: Duration,
}

/// Asks.
#[derive(Debug)]
pub(super) struct Webhook {
    settings: WebhookSettings,
    fetch: Fetch,
    answers: Mutex<Answers>,
    circuit: Mutex<Circuit>,
    /// Questions at a time.
    room: Semaphore,
}

/// The question as it is sent.
#[derive(Serialize)]
struct Question<'a> {
    action: &'static str,
    stream: &'a str,
    address: IpAddr,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// Answers that are kept, by what was asked.
#[derive(Debug, Default)]
struct Answers {
    kept: HashMap<Topic, Answer>,
    /// As they came, so that the oldest makes room. Each topic stands here once.
    order: VecDeque<Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Topic {
    action: Action,
    stream: StreamName,
    /// Of what was shown: secrets are not kept.
    token: Option<String>,
    address: IpAddr,
}

#[derive(Clone, Debug)]
struct Answer {
    /// None allows; else the text of the refusal.
    refusal: Option<String>,
    until: Instant,
}

/// How the other side is.
#[derive(Debug, Default)]
struct Circuit {
    /// Questions without an answer, one after the other.
    failures: u32,
    /// Nobody is asked until then.
    closed_until: Option<Instant>,
}

impl Webhook {
    /// As configured.
    pub(super) fn new(settings: WebhookSettings) -> Result<Webhook, NoAuthorities> {
        let fetch = Fetch::new(&settings.target, settings.timeout, LARGEST)?;
        let (answers, circuit) = (Mutex::default(), Mutex::default());
        Ok(Webhook { settings, fetch, answers, circuit, room: Semaphore::new(AT_A_TIME) })
    }

    /// Whether it is asked about this.
    pub(super) fn is_for(&self, action: Action) -> bool {
        self.settings.actions.contains(&action)
    }

    /// Asks; until when the permission is kept.
    pub(super) async fn ask(
        &self,
        action: Action,
        stream: &StreamName,
        shown: Option<&str>,
        from: &From,
    ) -> Result<SystemTime, Refused> {
        let address = from.address.to_canonical();
        let token = shown.map(|shown| Digest::of(shown).hex());
        let topic = Topic { action, stream: stream.clone(), token, address };
        let answer = match self.kept(&topic, Instant::now()) {
            Some(answer) => answer,
            None => self.inquire(topic, shown, from).await?,
        };
        let left = answer.until.saturating_duration_since(Instant::now());
        answer.refusal.map_or(Ok(SystemTime::now() + left), |text| Err(Refused::Webhook(text)))
    }

    async fn inquire(&self, topic: Topic, shown: Option<&str>, from: &From) -> Result<Answer, Refused> {
        if self.circuit().closed_until.is_some_and(|until| until > Instant::now()) {
            return Err(Refused::Unavailable);
        }
        let question = Question {
            action: topic.action.name(),
            stream: topic.stream.as_str(),
            address: topic.address,
            protocol: from.protocol,
            user_agent: from.user_agent.as_deref().map(short),
            referrer: from.referrer.as_deref().map(short),
            token: shown.filter(|shown| shown.len() <= LONGEST_TOKEN),
        };
        let body = serde_json::to_string(&question).map_err(|_| Refused::Unavailable)?;
        let room = tokio::time::timeout(self.settings.timeout, self.room.acquire()).await;
        let Ok(Ok(_room)) = room else { return Err(Refused::Unavailable) };
        let answered = Box::pin(self.fetch.send(&self.settings.target, self.request(body))).await;
        let refusal = match answered {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) if answer.status().is_client_error() && !OVERLOADED.contains(&answer.status()) => {
                Some(refusal(answer.body()))
            }
            Ok(answer) => return Err(self.failed(&format!("it answers {}", answer.status()))),
            Err(error) => return Err(self.failed(&error.to_string())),
        };
        *self.circuit() = Circuit::default();
        let keep = if refusal.is_none() { self.settings.cache } else { self.settings.cache.min(REFUSED) };
        let answer = Answer { refusal, until: Instant::now() + keep };
        self.keep(topic, &answer);
        Ok(answer)
    }

    /// `Headwater-Signature` is the HMAC-SHA256 of the timestamp, a dot and the body, so that neither can be another and an old
    /// question cannot be asked again.
    fn request(&self, body: String) -> Request<Full<Bytes>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let signature = self.settings.secret.as_ref().map(|secret| sign(secret, now, &body));
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TIMESTAMP, HeaderValue::from(now));
        if let Some(signature) = signature.and_then(|signature| HeaderValue::from_str(&signature).ok()) {
            headers.insert(SIGNATURE, signature);
        }
        request
    }

    /// Too many questions without an answer: nobody is asked for a while, so that neither side is kept busy in vain.
    fn failed(&self, problem: &str) -> Refused {
        let mut circuit = self.circuit();
        circuit.failures = circuit.failures.saturating_add(1);
        let left_alone = circuit.failures >= FAILURES;
        if left_alone {
            circuit.closed_until = Some(Instant::now() + ALONE);
        }
        drop(circuit);
        let target = &self.settings.target;
        tracing::warn!(?target, problem, left_alone, "the authorisation webhook does not answer; who asks is refused");
        Refused::Unavailable
    }

    fn kept(&self, topic: &Topic, now: Instant) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.kept.get(topic).filter(|answer| answer.until > now).cloned()
    }

    fn keep(&self, topic: Topic, answer: &Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.kept.insert(topic.clone(), answer.clone()).is_some() {
            return;
        }
        answers.order.push_back(topic);
        if answers.order.len() > MOST_KEPT
            && let Some(oldest) = answers.order.pop_front()
        {
            answers.kept.remove(&oldest);
        }
    }

    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sign(secret: &Secret, seconds: u64, body: &str) -> String {
    // Any length of key will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else { return String::new() };
    mac.update(format!("{seconds}.{body}").as_bytes());
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

/// What a broadcaster is shown: the beginning of the answer, on one line.
fn refusal(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TEXT).collect();
    if line.is_empty() { "this is not allowed".to_owned() } else { line }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(LONGEST_TEXT).map_or(text, |(at, _)| &text[..at])
}

const TIMESTAMP: HeaderName = HeaderName::from_static("headwater-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("headwater-signature");
/// Who is too busy to say has not refused.
const OVERLOADED: [StatusCode; 2] = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
/// A refusal is kept no longer: what was wrong may be mended meanwhile.
const REFUSED: Duration = Duration::from_secs(5);
/// Answers that are kept: about two megabytes.
const MOST_KEPT: usize = 8_192;
/// Questions at a time; others wait as long as for an answer.
const AT_A_TIME: usize = 64;
/// Questions without an answer before nobody is asked, and for how long.
const FAILURES: u32 = 5;
const ALONE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const LARGEST: usize = 64 * 1024;
/// Characters of a refusal, a client's name, a referrer.
const LONGEST_TEXT: usize = 200;
/// Bytes of a token that is passed on.
const LONGEST_TOKEN: usize = 8 * 1024;

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
