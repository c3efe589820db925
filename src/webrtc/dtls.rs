//! DTLS 1.2 of one session: the handshake that proves the peer's fingerprint and yields the SRTP keys (RFC 5763, RFC 5764).
//! Sans-IO around the library's endpoint; `transport` feeds it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::signature_hash_algorithm::SignatureScheme;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as Library;
use rtc_srtp::protection_profile::ProtectionProfile;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::records::{Records, Verdict};
use super::srtp::Keys;

/// The server's certificate, made anew at each start: nothing outlives a process that needs to know it.
#[derive(Clone)]
pub(super) struct Identity {
    certificate: Certificate,
    fingerprint: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    /// A new one.
    pub(super) fn new() -> Result<Identity, Library> {
        let provider = rtc_crypto::default_provider().map_err(|error| Library::Crypto(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec!["headwater".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().ok_or(Library::ErrNoCertificates)?;
        let fingerprint = Fingerprint::of(Hash::Sha256, der).to_string();
        Ok(Identity { certificate, fingerprint, provider })
    }

    /// As `a=fingerprint` has it: `sha-256 AB:CD:...`.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where randomness and ciphers come from.
    pub(super) fn provider(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.provider
    }

    fn handshake(&self, client: bool, peer: Fingerprint) -> Result<Arc<HandshakeConfig>, Library> {
        let verify = move |chain: &[Vec<u8>], _: &[rustls::pki_types::CertificateDer<'static>]| match chain.first() {
            Some(der) if Fingerprint::of(peer.hash, der) == peer => Ok(()),
            _ => Err(Library::Other("the peer's certificate is not the one its offer named".to_owned())),
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_signature_schemes(vec![
                // One that fits the hash to the curve: some clients take the first, whatever their key is.
                SignatureScheme::EcdsaWithP256AndSha256,
                SignatureScheme::Pkcs1WithSha256,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates are self-signed; the fingerprint is what counts, and it is checked above.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_flight_interval(FLIGHT)
            .build(client, None)?;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A certificate's hash, as an offer names it (RFC 8122 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: Hash,
    digest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Fingerprint {
    fn of(hash: Hash, der: &[u8]) -> Fingerprint {
        let digest = match hash {
            Hash::Sha256 => Sha256::digest(der).to_vec(),
            Hash::Sha384 => Sha384::digest(der).to_vec(),
            Hash::Sha512 => Sha512::digest(der).to_vec(),
        };
        Fingerprint { hash, digest }
    }

    /// Reads `sha-256 AB:CD:...`; None for a hash that is not strong enough or not known, and for a digest of another length.
    pub(super) fn parse(text: &str) -> Option<Fingerprint> {
        let (name, digits) = text.trim().split_once(' ')?;
        let (hash, length) = match name.to_ascii_lowercase().as_str() {
            "sha-256" => (Hash::Sha256, 32),
            "sha-384" => (Hash::Sha384, 48),
            "sha-512" => (Hash::Sha512, 64),
            _ => return None,
        };
        let octet = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
        let digest: Vec<u8> = digits.trim().split(':').map(octet).collect::<Option<_>>()?;
        (digest.len() == length).then_some(Fingerprint { hash, digest })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.hash {
            Hash::Sha256 => "sha-256 ",
            Hash::Sha384 => "sha-384 ",
            Hash::Sha512 => "sha-512 ",
        })?;
        for (at, octet) in self.digest.iter().enumerate() {
            write!(f, "{}{octet:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// One association.
pub(super) struct Dtls {
    endpoint: Endpoint,
    /// What to begin the handshake with, where that is on us.
    begin: Option<Arc<HandshakeConfig>>,
    established: bool,
    records: Records,
}

/// What a datagram led to.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing to act on.
    Nothing,
    /// The peer is who its offer said: these keys protect its media.
    Established(Keys),
    /// The peer said goodbye, or the association failed.
    Closed(String),
}

impl Dtls {
    /// `client`: we begin the handshake (`a=setup:active`), else the peer does.
    pub(super) fn new(identity: &Identity, client: bool, peer: Fingerprint) -> Result<Dtls, Library> {
        let config = identity.handshake(client, peer)?;
        let (server, begin) = if client { (None, Some(config)) } else { (Some(config), None) };
        Ok(Dtls {
            endpoint: Endpoint::new(HERE, TransportProtocol::UDP, server),
            begin,
            established: false,
            records: Records::default(),
        })
    }

    /// There is a path to the peer: begins the handshake where that is on us.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), Library> {
        match self.begin.take() {
            Some(config) => self.endpoint.connect(now, THERE, config, None),
            None => Ok(()),
        }
    }

    /// Takes a datagram.
    pub(super) fn read(&mut self, datagram: &[u8], now: Instant) -> Step {
        // A client that was not asked to begin has nothing to say yet.
        if self.begin.is_some() {
            return Step::Nothing;
        }
        match self.records.judge(datagram, self.established) {
            Verdict::Take => {}
            Verdict::Drop => return Step::Nothing,
            Verdict::TooMany => return Step::Closed("the DTLS handshake took too many datagrams".to_owned()),
        }
        let events = match self.endpoint.read(now, THERE, None, BytesMut::from(datagram)) {
            Ok(events) => events,
            // What cannot be read or does not authenticate once keys are there may come from anybody (RFC 6347 4.1.2.7).
            Err(_) if self.established => return Step::Nothing,
            Err(error) => return Step::Closed(format!("the DTLS handshake failed: {error}")),
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.established = true;
                    return match self.keys() {
                        Ok(keys) => Step::Established(keys),
                        Err(error) => Step::Closed(format!("no SRTP keys come of the DTLS handshake: {error}")),
                    };
                }
                EndpointEvent::PeerClosed => return Step::Closed("the peer closed the session".to_owned()),
                _ => {}
            }
        }
        Step::Nothing
    }

    /// Sends again what was not answered, once it is due.
    pub(super) fn timeout(&mut self, now: Instant) -> Result<(), Library> {
        match self.endpoint.poll_timeout(&THERE) {
            Some(due) if due <= now => self.endpoint.handle_timeout(THERE, now),
            _ => Ok(()),
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant) {
        drop(self.endpoint.stop(now, THERE));
    }

    /// The next datagram to send.
    pub(super) fn outgoing(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    fn keys(&self) -> Result<Keys, Library> {
        let state = self.endpoint.get_connection_state(THERE).ok_or(Library::ErrConnClosed)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return Err(Library::Other("no SRTP protection profile is common to both ends".to_owned())),
        };
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length)?;
        Keys::split(profile, material.as_ref(), state.is_client())
    }
}

impl fmt::Debug for Dtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls").field("established", &self.established).finish_non_exhaustive()
    }
}

/// The library wants addresses; an association of ours outlives those of its paths, so it is told of one that never changes.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);
/// After so long a flight is sent again; eight times in all.
const FLIGHT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::records::MOST_DATAGRAMS;
    use super::*;

    /// Runs both ends to their keys, or to why there are none; `lose` says which datagrams get lost.
    fn shake(
        client: &mut Dtls,
        server: &mut Dtls,
        mut lose: impl FnMut(usize) -> bool,
    ) -> (Option<Keys>, Option<Keys>) {
        let mut now = Instant::now();
        client.begin(now).unwrap();
        let (mut keys, mut sent) = ([None, None], 0);
        for _ in 0..40 {
            for turn in [0, 1] {
                loop {
                    let (from, to) =
                        if turn == 0 { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
                    let Some(datagram) = from.outgoing() else { break };
                    sent += 1;
                    if lose(sent) {
                        continue;
                    }
                    match to.read(&datagram, now) {
                        Step::Established(found) => keys[1 - turn] = Some(found),
                        Step::Closed(_) => return (None, None),
                        Step::Nothing => {}
                    }
                }
            }
            now += FLIGHT;
            if client.timeout(now).is_err() || server.timeout(now).is_err() {
                break;
            }
        }
        let [client, server] = keys;
        (client, server)
    }

    fn pair(fingerprint_of: impl Fn(&Identity, &Identity) -> String) -> (Dtls, Dtls) {
        let (a, b) = (Identity::new().unwrap(), Identity::new().unwrap());
        let claimed = Fingerprint::parse(&fingerprint_of(&a, &b)).unwrap();
        let client = Dtls::new(&a, true, Fingerprint::parse(b.fingerprint()).unwrap()).unwrap();
        (client, Dtls::new(&b, false, claimed).unwrap())
    }

    #[test]
    fn both_ends_find_the_same_keys() {
        let (mut client, mut server) = pair(|a, _| a.fingerprint().to_owned());
        let (a, b) = shake(&mut client, &mut server, |_| false);
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.local(), a.remote()), (b.remote(), b.local()));
    }

    #[test]
    fn lost_datagrams_are_sent_again() {
        for seed in 0..100 {
            let (mut client, mut server) = pair(|a, _| a.fingerprint().to_owned());
            let mut state = seed * 7_919 + 1_u64;
            let lost = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 61 == 0
            };
            let (a, b) = shake(&mut client, &mut server, lost);
            assert!(a.is_some() && b.is_some(), "seed {seed}");
        }
    }

    #[test]
    fn a_certificate_that_the_offer_did_not_name_is_refused() {
        let (mut client, mut server) = pair(|_, b| b.fingerprint().to_owned());
        let (a, b) = shake(&mut client, &mut server, |_| false);
        assert!(a.is_none() && b.is_none());
    }

    #[test]
    fn rubbish_costs_a_bounded_effort_and_cannot_end_what_is_established() {
        let (mut client, mut server) = pair(|a, _| a.fingerprint().to_owned());
        shake(&mut client, &mut server, |_| false);
        for length in 0..100 {
            assert!(matches!(server.read(&vec![22; length], Instant::now()), Step::Nothing));
        }
        let (_, mut fresh) = pair(|a, _| a.fingerprint().to_owned());
        let steps = (0..=MOST_DATAGRAMS).map(|_| fresh.read(&[22, 254, 253, 0], Instant::now()));
        assert!(steps.filter(|step| matches!(step, Step::Closed(_))).count() >= 1);
    }

    #[test]
    fn fingerprints_are_read_as_offers_write_them() {
        let text = Fingerprint::of(Hash::Sha256, b"x").to_string();
        assert_eq!(Fingerprint::parse(&text.to_lowercase()).unwrap().to_string(), text);
        for bad in ["sha-1 AB:CD", "sha-256 AB:CD", "sha-256", "", "sha-256 +1:02", "md5 00"] {
            assert!(Fingerprint::parse(bad).is_none(), "{bad}");
        }
    }

    /// One record of a first message in so many empty fragments, each of which says that another follows it.
    fn chain(from: u32, count: u32) -> Vec<u8> {
        let fragment = |at: u32| [&[1, 0, 0, 0, 0, 0][..], &at.to_be_bytes()[1..], &[0, 0, 1]].concat();
        let body: Vec<u8> = (from..from + count).flat_map(fragment).collect();
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0];
        record.extend((from as u16).to_be_bytes());
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn a_message_in_a_hundred_thousand_pieces_costs_nothing() {
        let (_, mut server) = pair(|a, _| a.fingerprint().to_owned());
        let now = Instant::now();
        for datagram in 0..90 {
            assert!(matches!(server.read(&chain(datagram * 5_000, 5_000), now), Step::Nothing));
            assert!(matches!(server.read(&chain(datagram * 100, 100), now), Step::Nothing));
        }
    }
}
