//! DTLS of one session, either role, and the SRTP that comes of it (RFC 5764). Sans-IO around the library's endpoint; `link`
//! feeds it.

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
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use sha2::{Digest, Sha256};

/// The certificate that all sessions of a run show.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: Certificate,
    fingerprint: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    /// A new one.
    pub(crate) fn new() -> Result<Identity, Error> {
        let provider = rtc_crypto::default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec!["headwater-load".to_owned()], provider.crypto())?;
        let fingerprint = print(certificate.certificate.first().ok_or(Error::ErrNoCertificates)?);
        Ok(Identity { certificate, fingerprint, provider })
    }

    /// As `a=fingerprint` has it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Ciphers and randomness.
    pub(crate) fn provider(&self) -> &dyn RTCCryptoProvider {
        self.provider.as_ref()
    }

    fn config(&self, client: bool, peer: String) -> Result<Arc<HandshakeConfig>, Error> {
        let verify = move |chain: &[Vec<u8>], _: &[rustls::pki_types::CertificateDer<'static>]| match chain.first() {
            Some(der) if print(der).eq_ignore_ascii_case(&peer) => Ok(()),
            _ => Err(Error::Other("another certificate than the answer named".to_owned())),
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_signature_schemes(vec![SignatureScheme::EcdsaWithP256AndSha256])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_flight_interval(FLIGHT)
            .build(client, None)?;
        Ok(Arc::new(config))
    }
}

/// `sha-256 AB:CD:...` of a certificate.
fn print(der: &[u8]) -> String {
    let digits: Vec<String> = Sha256::digest(der).iter().map(|octet| format!("{octet:02X}")).collect();
    format!("sha-256 {}", digits.join(":"))
}

/// One association.
pub(crate) struct Dtls {
    endpoint: Endpoint,
    /// What to begin the handshake with, where that is on us.
    begin: Option<Arc<HandshakeConfig>>,
}

/// Both directions of SRTP and SRTCP.
pub(crate) struct Protection {
    /// What we send.
    pub(crate) local: Context,
    /// What the server sends.
    pub(crate) remote: Context,
}

/// What a datagram led to.
pub(crate) enum Step {
    /// Nothing yet.
    Nothing,
    /// There are keys.
    Established(Box<Protection>),
    /// The server ended it, or it failed.
    Closed,
}

impl Dtls {
    /// `client`: we begin. `peer`: the fingerprint in the answer.
    pub(crate) fn new(identity: &Identity, client: bool, peer: &str) -> Result<Dtls, Error> {
        let config = identity.config(client, peer.to_owned())?;
        let (server, begin) = if client { (None, Some(config)) } else { (Some(config), None) };
        Ok(Dtls { endpoint: Endpoint::new(HERE, TransportProtocol::UDP, server), begin })
    }

    /// There is a path.
    pub(crate) fn begin(&mut self, now: Instant) -> Result<(), Error> {
        self.begin.take().map_or(Ok(()), |config| self.endpoint.connect(now, THERE, config, None))
    }

    /// Takes a datagram.
    pub(crate) fn read(&mut self, datagram: &[u8], now: Instant, identity: &Identity) -> Step {
        if self.begin.is_some() {
            return Step::Nothing;
        }
        let Ok(events) = self.endpoint.read(now, THERE, None, BytesMut::from(datagram)) else { return Step::Closed };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let keys = self.protection(identity);
                    return keys.map_or(Step::Closed, |keys| Step::Established(Box::new(keys)));
                }
                EndpointEvent::PeerClosed => return Step::Closed,
                _ => {}
            }
        }
        Step::Nothing
    }

    /// Sends again what was not answered, once it is due.
    pub(crate) fn timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.endpoint.poll_timeout(&THERE) {
            Some(due) if due <= now => self.endpoint.handle_timeout(THERE, now),
            _ => Ok(()),
        }
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Instant) {
        drop(self.endpoint.stop(now, THERE));
    }

    /// The next datagram to send.
    pub(crate) fn outgoing(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// RFC 5764 section 4.2: both keys, then both salts, the client's first.
    fn protection(&self, identity: &Identity) -> Result<Protection, Error> {
        let state = self.endpoint.get_connection_state(THERE).ok_or(Error::ErrConnClosed)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return Err(Error::Other("no SRTP profile is common to both ends".to_owned())),
        };
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
        let material: &[u8] = material.as_ref();
        let context = |at: usize| {
            let salts = &material[2 * key..];
            let crypto = identity.provider.crypto();
            Context::new(&material[at * key..][..key], &salts[at * salt..][..salt], profile, None, None, crypto)
        };
        let (ours, theirs) = if state.is_client() { (0, 1) } else { (1, 0) };
        Ok(Protection { local: context(ours)?, remote: context(theirs)? })
    }
}

/// The library wants addresses; which ones is all the same to an association.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);
/// A flight is sent again after so long.
const FLIGHT: Duration = Duration::from_millis(500);
