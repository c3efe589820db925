//! The transport of one session: ICE, DTLS and SRTP over one socket, whichever way media goes. Sans-IO; `viewer` and
//! `source` own one each and do its sending.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::Failure;
use super::dtls::{Dtls, Identity, Protection, Step};
use super::sdp::{Answer, Credentials};
use super::stun::Agent;

/// The transport.
pub(crate) struct Link {
    identity: Identity,
    agent: Agent,
    dtls: Dtls,
    protection: Option<Box<Protection>>,
    out: Vec<Vec<u8>>,
}

/// What a datagram is to whoever owns the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Nothing.
    Nothing,
    /// Keys are there: media can flow.
    Connected,
    /// An RTP packet, still encrypted: most are only counted, by their headers.
    Rtp,
    /// RTCP packets, opened.
    Rtcp(BytesMut),
}

impl Link {
    /// To the server that gave `answer`, at one of its candidates.
    pub(crate) fn new(
        identity: &Identity,
        local: Credentials,
        answer: &Answer,
        server: SocketAddr,
    ) -> Result<Link, Failure> {
        let mut tie = [0; 8];
        identity.provider().random().fill(&mut tie).map_err(|_| Failure::Handshake)?;
        let dtls = Dtls::new(identity, !answer.active, &answer.fingerprint).map_err(|_| Failure::Answer)?;
        let agent = Agent::new(local, answer.credentials.clone(), server, u64::from_be_bytes(tie));
        Ok(Link { identity: identity.clone(), agent, dtls, protection: None, out: Vec::new() })
    }

    /// Takes a datagram.
    pub(crate) fn datagram(&mut self, datagram: &[u8], now: Instant) -> Result<Incoming, Failure> {
        match (datagram.first(), datagram.get(1)) {
            (Some(0..=3), _) => {
                let answer = self.agent.take(datagram, now, self.identity.provider().crypto());
                self.out.extend(answer);
                if self.agent.is_open() {
                    self.dtls.begin(now).map_err(|_| Failure::Handshake)?;
                    self.flush();
                }
                Ok(Incoming::Nothing)
            }
            (Some(20..=63), _) => {
                let step = self.dtls.read(datagram, now, &self.identity);
                self.flush();
                match step {
                    Step::Nothing => Ok(Incoming::Nothing),
                    Step::Established(protection) => {
                        self.protection = Some(protection);
                        Ok(Incoming::Connected)
                    }
                    Step::Closed if self.protection.is_some() => Err(Failure::Closed),
                    Step::Closed => Err(Failure::Handshake),
                }
            }
            (Some(128..=191), Some(192..=223)) => {
                let opened = self.protection.as_mut().and_then(|keys| keys.remote.decrypt_rtcp(datagram).ok());
                Ok(opened.map_or(Incoming::Nothing, Incoming::Rtcp))
            }
            (Some(128..=191), Some(_)) if self.protection.is_some() => Ok(Incoming::Rtp),
            _ => Ok(Incoming::Nothing),
        }
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        if self.agent.is_lost(now) {
            return Err(Failure::Consent);
        }
        let request = self.agent.request(now, self.identity.provider().crypto());
        self.out.extend(request);
        if self.protection.is_none() {
            self.dtls.timeout(now).map_err(|_| Failure::Handshake)?;
            self.flush();
        }
        Ok(())
    }

    /// Media can flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.protection.is_some()
    }

    /// Opens an RTP packet; None if it is not what its sender made.
    pub(crate) fn open(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.protection.as_mut()?.remote.decrypt_rtp(packet).ok()
    }

    /// An RTP packet, protected.
    pub(crate) fn seal(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.protection.as_mut()?.local.encrypt_rtp(packet).ok()
    }

    /// Sends RTCP packets.
    pub(crate) fn say(&mut self, packets: &[u8]) {
        if let Some(keys) = &mut self.protection
            && let Ok(sealed) = keys.local.encrypt_rtcp(packets)
        {
            self.out.push(sealed.to_vec());
        }
    }

    /// Says goodbye, by DTLS alone.
    pub(crate) fn close(&mut self, now: Instant) {
        self.dtls.close(now);
        self.flush();
    }

    /// What waits to be sent.
    pub(crate) fn outgoing(&mut self) -> std::vec::Drain<'_, Vec<u8>> {
        self.out.drain(..)
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.dtls.outgoing() {
            self.out.push(datagram.to_vec());
        }
    }
}
