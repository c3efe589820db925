//! The answer to an offer: one transport for all that is accepted, and port 0 for the rest (RFC 9429 section 5.3.1).

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::offer::{Direction, Extension, Media, Payload};
use crate::webrtc::ice::Credentials;

/// An address of ours that the peer may try, RFC 8839 section 5.1. Prints as the attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: bool,
    /// The higher the sooner it is tried, 0 to 65535.
    pub(crate) preference: u16,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        // RFC 8445 section 5.1.2.1: host candidates have type preference 126; TCP comes after all of UDP (RFC 6544).
        let kind: u32 = if self.tcp { 90 } else { 126 };
        let priority = (kind << 24) | (u32::from(self.preference) << 8) | 255;
        let foundation = 1 + u32::from(self.tcp) * 2 + u32::from(matches!(ip, IpAddr::V6(_)));
        let protocol = if self.tcp { "tcp" } else { "udp" };
        write!(f, "{foundation} 1 {protocol} {priority} {ip} {port} typ host")?;
        if self.tcp { f.write_str(" tcptype passive") } else { Ok(()) }
    }
}

/// What of a media section is accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The codecs, and the repairs of those.
    pub(crate) payloads: Vec<Payload>,
    /// Layers that are taken.
    pub(crate) layers: Vec<String>,
    /// What we send in it; None where we receive.
    pub(crate) sending: Option<Sending>,
}

/// The streams that we send in a media section.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) ssrc: u32,
    pub(crate) repair: Option<u32>,
    /// `a=msid`: what belongs together is played in step.
    pub(crate) stream: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) session: u32,
    pub(crate) local: &'a Credentials,
    pub(crate) fingerprint: &'a str,
    /// We begin the DTLS handshake.
    pub(crate) active: bool,
    pub(crate) candidates: &'a [Candidate],
    /// The offer's sections, each with what is accepted of it.
    pub(crate) sections: &'a [(&'a Media, Option<Accepted>)],
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session;
        write!(f, "v=0\r\no=headwater {session} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n")?;
        let bundled = self.sections.iter().filter(|(_, accepted)| accepted.is_some());
        f.write_str("a=group:BUNDLE")?;
        for (media, _) in bundled {
            write!(f, " {}", media.mid)?;
        }
        f.write_str("\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n")?;
        let mut first = true;
        for (media, accepted) in self.sections {
            match accepted {
                Some(accepted) => self.accept(f, media, accepted, std::mem::take(&mut first))?,
                None => refuse(f, media)?,
            }
        }
        Ok(())
    }
}

impl Answer<'_> {
    fn accept(&self, f: &mut fmt::Formatter<'_>, media: &Media, accepted: &Accepted, first: bool) -> fmt::Result {
        write!(f, "m={} 9 {}", media.name, media.protocol)?;
        for payload in &accepted.payloads {
            write!(f, " {}", payload.number)?;
        }
        let Credentials { fragment, password } = self.local;
        write!(f, "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\n", media.mid)?;
        write!(f, "a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\na=fingerprint:{}\r\n", self.fingerprint)?;
        write!(f, "a=setup:{}\r\n", if self.active { "active" } else { "passive" })?;
        f.write_str(match accepted.sending {
            Some(_) => "a=sendonly\r\n",
            None => "a=recvonly\r\n",
        })?;
        f.write_str("a=rtcp-mux\r\na=rtcp-rsize\r\n")?;
        for (number, extension) in &media.extensions {
            write!(f, "a=extmap:{number} {}\r\n", extension.uri())?;
        }
        for payload in &accepted.payloads {
            describe(f, payload)?;
        }
        if !accepted.layers.is_empty() {
            for layer in &accepted.layers {
                write!(f, "a=rid:{layer} recv\r\n")?;
            }
            write!(f, "a=simulcast:recv {}\r\n", accepted.layers.join(";"))?;
        }
        if let Some(sending) = &accepted.sending {
            sent(f, sending, &media.mid)?;
        }
        // One transport for all: its candidates stand in its first section (RFC 9429 section 5.3.1).
        if first {
            for candidate in self.candidates {
                write!(f, "a=candidate:{candidate}\r\n")?;
            }
            f.write_str("a=end-of-candidates\r\n")?;
        }
        Ok(())
    }
}

fn describe(f: &mut fmt::Formatter<'_>, payload: &Payload) -> fmt::Result {
    let Payload { number, map, parameters, feedback, .. } = payload;
    write!(f, "a=rtpmap:{number} {map}\r\n")?;
    for message in feedback {
        write!(f, "a=rtcp-fb:{number} {message}\r\n")?;
    }
    if !parameters.is_empty() {
        write!(f, "a=fmtp:{number} ")?;
        for (at, (name, value)) in parameters.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ";" })?;
            f.write_str(name)?;
            if !value.is_empty() {
                write!(f, "={value}")?;
            }
        }
        f.write_str("\r\n")?;
    }
    Ok(())
}

fn sent(f: &mut fmt::Formatter<'_>, sending: &Sending, mid: &str) -> fmt::Result {
    let Sending { ssrc, repair, stream } = sending;
    write!(f, "a=msid:{stream} {stream}-{mid}\r\n")?;
    if let Some(repair) = repair {
        write!(f, "a=ssrc-group:FID {ssrc} {repair}\r\n")?;
    }
    for ssrc in std::iter::once(ssrc).chain(repair) {
        write!(f, "a=ssrc:{ssrc} cname:{stream}\r\na=ssrc:{ssrc} msid:{stream} {stream}-{mid}\r\n")?;
    }
    Ok(())
}

fn refuse(f: &mut fmt::Formatter<'_>, media: &Media) -> fmt::Result {
    write!(f, "m={} 0 {}", media.name, media.protocol)?;
    for format in &media.formats {
        write!(f, " {format}")?;
    }
    f.write_str("\r\nc=IN IP4 0.0.0.0\r\n")?;
    if !media.mid.is_empty() {
        write!(f, "a=mid:{}\r\n", media.mid)?;
    }
    f.write_char('a')?;
    f.write_str("=inactive\r\n")
}

/// What a section that we only take from, or only send to, must offer.
impl Direction {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Direction::Send | Direction::Both)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Direction::Receive | Direction::Both)
    }
}

/// The number that an extension has in a section.
impl Media {
    pub(crate) fn extension(&self, wanted: Extension) -> Option<u8> {
        self.extensions.iter().find(|(_, extension)| *extension == wanted).map(|(number, _)| *number)
    }
}
