//! STUN as an ICE-lite agent needs it (RFC 8489, RFC 8445): reads binding requests, writes answers. Pure; `ice` decides.

use std::net::SocketAddr;

use rtc_crypto::RTCCrypto;
use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_PRIORITY,
    ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

/// A binding request whose sender is not known yet.
#[derive(Debug)]
pub(super) struct Request {
    message: Message,
    /// The receiving agent's fragment: ours.
    pub(super) local: String,
    /// The sending agent's fragment.
    pub(super) remote: String,
    /// What a candidate pair that came of this request would have for a priority.
    pub(super) priority: u32,
    /// The controlling agent nominates this pair.
    pub(super) nominates: bool,
    /// The sender takes itself for the controlled agent, as we do.
    pub(super) controlled: bool,
}

impl Request {
    /// Reads one; None for all else, and for a request without a user name: nothing can be said to it.
    pub(super) fn read(datagram: &[u8]) -> Option<Request> {
        // The library reads what length the header says; a datagram holds one message.
        let (length, rest) = (datagram.get(2..4)?, datagram.len().checked_sub(HEADER)?);
        if usize::from(u16::from_be_bytes([length[0], length[1]])) != rest || rest > LONGEST {
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.typ != BINDING_REQUEST || !is_whole(&message) {
            return None;
        }
        let username = String::from_utf8(message.get(ATTR_USERNAME).ok()?).ok()?;
        let (local, remote) = username.split_once(':')?;
        let (local, remote) = (local.to_owned(), remote.to_owned());
        let priority = message.get(ATTR_PRIORITY).ok().and_then(|p| p.try_into().ok()).map_or(0, u32::from_be_bytes);
        let (nominates, controlled) = (message.contains(ATTR_USE_CANDIDATE), message.contains(ATTR_ICE_CONTROLLED));
        Some(Request { message, local, remote, priority, nominates, controlled })
    }

    /// True if whoever sent it knows our password.
    pub(super) fn proves(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto).is_ok()
    }

    /// The answer to it, which says where it came from.
    pub(super) fn answer(&self, from: SocketAddr, password: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.set_type(BINDING_SUCCESS);
        self.message.add_to(&mut message).ok()?;
        message.write_header();
        let ip = from.ip().to_canonical();
        XorMappedAddress { ip, port: from.port() }.add_to_as(&mut message, ATTR_XORMAPPED_ADDRESS).ok()?;
        let key = MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto);
        key.add_to(&mut message).ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}

/// Nothing stands behind the integrity but a fingerprint, and that is right (RFC 8489 sections 14.5 and 14.7): anybody could
/// have added what is not covered.
fn is_whole(message: &Message) -> bool {
    let kinds = || message.attributes.0.iter().map(|attribute| attribute.typ);
    let mut uncovered = kinds().skip_while(|kind| *kind != ATTR_MESSAGE_INTEGRITY).skip(1);
    let covered = uncovered.all(|kind| [ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY_SHA256].contains(&kind));
    covered && (!message.contains(ATTR_FINGERPRINT) || FINGERPRINT.check(message).is_ok())
}

/// A request for the address that others see us at, and what to look for in its answer.
pub(super) fn discovery(transaction: [u8; 12]) -> Vec<u8> {
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.transaction_id.0 = transaction;
    message.write_header();
    message.raw
}

/// The address in the answer to [`discovery`].
pub(super) fn discovered(datagram: &[u8], transaction: [u8; 12]) -> Option<SocketAddr> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    if message.typ != BINDING_SUCCESS || message.transaction_id.0 != transaction {
        return None;
    }
    let mut mapped = XorMappedAddress::default();
    mapped.get_from_as(&message, ATTR_XORMAPPED_ADDRESS).ok()?;
    Some(SocketAddr::new(mapped.ip, mapped.port))
}

/// A request as a controlling agent sends it.
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used)]
pub(super) fn request(username: &str, password: &str, priority: u32, nominates: bool) -> Vec<u8> {
    use rtc_stun::textattrs::TextAttribute;
    let provider = rtc_crypto::default_provider().unwrap();
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.new_transaction_id().unwrap();
    message.write_header();
    TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
    message.add(ATTR_PRIORITY, &priority.to_be_bytes());
    if nominates {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

const HEADER: usize = 20;
/// In bytes; real requests have about 100.
const LONGEST: usize = 1_480;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_proves_itself_and_is_answered_with_its_address() {
        let provider = rtc_crypto::default_provider().unwrap();
        let raw = request("ours:theirs", "secret", 77, true);
        let mut request = Request::read(&raw).unwrap();
        assert_eq!((request.local.as_str(), request.remote.as_str()), ("ours", "theirs"));
        assert_eq!((request.priority, request.nominates, request.controlled), (77, true, false));
        assert!(request.proves("secret", provider.crypto()));
        assert!(!request.proves("Secret", provider.crypto()));
        let from = "[::ffff:192.0.2.7]:4000".parse().unwrap();
        let answer = request.answer(from, "secret", provider.crypto()).unwrap();
        let id: [u8; 12] = raw[8..20].try_into().unwrap();
        assert_eq!(discovered(&answer, id), Some("192.0.2.7:4000".parse().unwrap()));
        assert_eq!(discovered(&answer, [0; 12]), None);
    }

    #[test]
    fn a_request_that_was_changed_proves_nothing() {
        let provider = rtc_crypto::default_provider().unwrap();
        let raw = request("ours:theirs", "secret", 1, false);
        for at in 20..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            if let Some(mut request) = Request::read(&changed) {
                assert!(!request.proves("secret", provider.crypto()), "byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_no_request(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), stun: bool) {
            if stun && bytes.len() >= 20 {
                let length = (bytes.len() - 20) as u16;
                bytes[..2].copy_from_slice(&[0, 1]);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
            }
            if let Some(mut request) = Request::read(&bytes) {
                let provider = rtc_crypto::default_provider().unwrap();
                prop_assert!(!request.proves("secret", provider.crypto()));
            }
        }
    }
}
