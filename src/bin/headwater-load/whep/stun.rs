//! The controlling ICE agent of one session, in its smallest form: one pair, which every request nominates (RFC 8445). Sans-IO;
//! `link` feeds it. Takes the server's word for its answers: who could forge them is on this machine.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_crypto::RTCCrypto;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

use super::sdp::Credentials;

/// The agent.
pub(crate) struct Agent {
    local: Credentials,
    remote: Credentials,
    server: SocketAddr,
    asked: Option<Instant>,
    answered: Option<Instant>,
    tie: u64,
}

impl Agent {
    /// For one server; `tie`: any number.
    pub(crate) fn new(local: Credentials, remote: Credentials, server: SocketAddr, tie: u64) -> Agent {
        Agent { local, remote, server, asked: None, answered: None, tie }
    }

    /// The server has answered a request.
    pub(crate) fn is_open(&self) -> bool {
        self.answered.is_some()
    }

    /// The server has answered before, and does not any more (RFC 7675 section 5.1).
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.answered.is_some_and(|then| now.saturating_duration_since(then) > CONSENT)
    }

    /// A request, where one is due.
    pub(crate) fn request(&mut self, now: Instant, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
        let pace = if self.is_open() { RENEW } else { TRY };
        if self.asked.is_some_and(|then| now.saturating_duration_since(then) < pace) {
            return None;
        }
        self.asked = Some(now);
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.new_transaction_id().ok()?;
        message.write_header();
        let user = format!("{}:{}", self.remote.fragment, self.local.fragment);
        TextAttribute::new(ATTR_USERNAME, user).add_to(&mut message).ok()?;
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &self.tie.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        seal(message, &self.remote.password, crypto)
    }

    /// Takes a message; what it must be answered with.
    pub(crate) fn take(&mut self, datagram: &[u8], now: Instant, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.typ == BINDING_SUCCESS {
            self.answered = Some(now);
            return None;
        }
        if message.typ != BINDING_REQUEST {
            return None;
        }
        let mut answer = Message::new();
        answer.set_type(BINDING_SUCCESS);
        message.add_to(&mut answer).ok()?;
        answer.write_header();
        let mapped = XorMappedAddress { ip: self.server.ip(), port: self.server.port() };
        mapped.add_to_as(&mut answer, ATTR_XORMAPPED_ADDRESS).ok()?;
        seal(answer, &self.local.password, crypto)
    }
}

fn seal(mut message: Message, password: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
    let key = MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto);
    key.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// Of a peer-reflexive candidate, RFC 8445 section 5.1.2.1.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
/// Between requests, before and after the first answer.
const TRY: Duration = Duration::from_millis(90);
const RENEW: Duration = Duration::from_millis(2_500);
const CONSENT: Duration = Duration::from_secs(30);
