//! One session's way to its peer: ICE-lite, DTLS and SRTP in one sans-IO type. Datagrams come in with the path they took;
//! what comes out is opened media, and datagrams to send. Owned by a session; knows nothing of codecs or streams.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::dtls::{Dtls, Fingerprint, Identity, Step};
use super::ice::{Credentials, Heard, Ice, Path};
use super::srtp::Srtp;
use super::stun::Request;

/// The transport.
#[derive(Debug)]
pub(super) struct Transport {
    identity: Identity,
    ice: Ice,
    /// Large, and of no use to the hot path.
    dtls: Box<Dtls>,
    srtp: Option<Box<Srtp>>,
    began: Instant,
}

/// A datagram to send.
pub(super) type Sent = (Path, Vec<u8>);

/// What a datagram led to.
#[derive(Debug)]
pub(super) enum Received {
    /// Nothing to act on.
    Nothing,
    /// A path was proven or another nominated: the router must know.
    Paths,
    /// Media can flow.
    Connected,
    /// An RTP packet.
    Rtp(BytesMut),
    /// RTCP packets.
    Rtcp(BytesMut),
    /// It is over, and why.
    Closed(String),
}

impl Transport {
    /// For a peer that offered these; `active`: we begin the DTLS handshake.
    pub(super) fn new(
        identity: &Identity,
        local: Credentials,
        (remote, fingerprint): (String, Fingerprint),
        active: bool,
        now: Instant,
    ) -> Result<Transport, rtc_shared::error::Error> {
        let dtls = Box::new(Dtls::new(identity, active, fingerprint)?);
        Ok(Transport { identity: identity.clone(), ice: Ice::new(local, remote, now), dtls, srtp: None, began: now })
    }

    /// Takes a binding request.
    pub(super) fn request(&mut self, request: Request, path: Path, now: Instant, out: &mut Vec<Sent>) -> Received {
        let known = self.ice.is_proven(&path);
        match self.ice.hear(request, path, now, self.identity.provider().crypto()) {
            Heard::Stranger => Received::Nothing,
            Heard::Peer { answer, moved } => {
                out.push((path, answer));
                if self.srtp.is_none() {
                    // The first sign of the peer: a handshake that is on us begins, and one that stalls is woken.
                    if let Err(error) = self.dtls.begin(now) {
                        return Received::Closed(format!("the DTLS handshake cannot begin: {error}"));
                    }
                    self.flush(out);
                }
                if known && !moved { Received::Nothing } else { Received::Paths }
            }
        }
    }

    /// Takes what is no STUN. Only over proven paths does anything count.
    pub(super) fn datagram(&mut self, path: Path, datagram: &[u8], now: Instant, out: &mut Vec<Sent>) -> Received {
        if !self.ice.is_proven(&path) {
            return Received::Nothing;
        }
        match (datagram.first(), datagram.get(1)) {
            (Some(20..=63), _) => self.handshake(datagram, now, out),
            (Some(128..=191), Some(192..=223)) => {
                let opened = self.srtp.as_mut().and_then(|srtp| srtp.open_rtcp(datagram));
                self.opened(opened, now).map_or(Received::Nothing, Received::Rtcp)
            }
            (Some(128..=191), Some(_)) => {
                let opened = self.srtp.as_mut().and_then(|srtp| srtp.open(datagram));
                self.opened(opened, now).map_or(Received::Nothing, Received::Rtp)
            }
            _ => Received::Nothing,
        }
    }

    /// Sends again what is due; says why it is over when the peer has not been heard of for too long.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Sent>) -> Result<(), String> {
        let silent = now.saturating_duration_since(self.ice.heard());
        if self.srtp.is_none() {
            if now.saturating_duration_since(self.began) > CONNECT {
                let seconds = CONNECT.as_secs();
                return Err(match self.ice.path() {
                    None => {
                        format!("no ICE request came within {seconds} s: is the UDP port reachable from the client?")
                    }
                    Some(_) => format!("the DTLS handshake did not finish within {seconds} s"),
                });
            }
            self.dtls.timeout(now).map_err(|error| format!("the DTLS handshake failed: {error}"))?;
            self.flush(out);
        } else if silent > CONSENT {
            return Err(format!("nothing was heard of the peer for {} s", CONSENT.as_secs()));
        }
        Ok(())
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<Sent>) {
        self.dtls.close(now);
        self.flush(out);
    }

    /// New ICE credentials on both ends.
    pub(super) fn restart(&mut self, local: Credentials, remote: String) {
        self.ice.restart(local, remote);
    }

    /// What protects media, once there is something.
    pub(super) fn srtp(&mut self) -> Option<&mut Srtp> {
        self.srtp.as_deref_mut()
    }

    /// The peer has said nothing for longer than one that is there does: browsers ask for consent every 5 s (RFC 7675).
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.ice.heard()) > QUIET
    }

    /// Where to send media.
    pub(super) fn path(&self) -> Option<Path> {
        self.ice.path()
    }

    /// The proven paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = Path> {
        self.ice.paths()
    }

    /// Our user fragment.
    pub(super) fn fragment(&self) -> &str {
        self.ice.fragment()
    }

    /// Media can flow. Some clients send theirs before they nominate a path.
    pub(super) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// As after a handshake that gave these keys.
    #[cfg(any(test, fuzzing))]
    pub(super) fn open(&mut self, srtp: Srtp) {
        self.srtp = Some(Box::new(srtp));
    }

    fn handshake(&mut self, datagram: &[u8], now: Instant, out: &mut Vec<Sent>) -> Received {
        let step = self.dtls.read(datagram, now);
        self.flush(out);
        match step {
            Step::Nothing => Received::Nothing,
            Step::Closed(why) => Received::Closed(why),
            Step::Established(keys) => match Srtp::new(&keys, self.identity.provider().crypto()) {
                Ok(srtp) => {
                    self.srtp = Some(Box::new(srtp));
                    self.ice.alive(now);
                    Received::Connected
                }
                Err(error) => Received::Closed(format!("SRTP cannot begin: {error}")),
            },
        }
    }

    fn opened(&mut self, opened: Option<BytesMut>, now: Instant) -> Option<BytesMut> {
        if opened.is_some() {
            self.ice.alive(now);
        }
        opened
    }

    fn flush(&mut self, out: &mut Vec<Sent>) {
        while let Some(datagram) = self.dtls.outgoing() {
            if let Some(path) = self.ice.path() {
                out.push((path, datagram.to_vec()));
            }
        }
    }
}

/// From the offer to keys. Browsers give up after 15 s.
const CONNECT: Duration = Duration::from_secs(15);
const QUIET: Duration = Duration::from_secs(8);
/// RFC 7675 section 5.1.
const CONSENT: Duration = Duration::from_secs(30);
