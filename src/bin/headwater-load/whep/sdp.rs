//! The offers that the `whep` mode makes, and what it needs of the answers. Pure. Nothing else of SDP is known here.

use std::net::SocketAddr;

/// What both ends prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// `a=ice-ufrag`.
    pub(crate) fragment: String,
    /// `a=ice-pwd`.
    pub(crate) password: String,
}

/// Which way media goes, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A viewer's offer: pictures and sound.
    Receive,
    /// A publisher's offer: pictures alone.
    Send,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The server's.
    pub(crate) credentials: Credentials,
    /// SHA-256 of the server's certificate, as it was written.
    pub(crate) fingerprint: String,
    /// The server begins the DTLS handshake.
    pub(crate) active: bool,
    /// Its UDP host candidates, in the order given.
    pub(crate) candidates: Vec<SocketAddr>,
    /// The payload type agreed on for pictures.
    pub(crate) video: Option<u8>,
}

/// Writes an offer.
pub(crate) fn offer(direction: Direction, local: &Credentials, fingerprint: &str) -> String {
    let sections = if direction == Direction::Receive { "0 1" } else { "0" };
    let mut out = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {sections}\r\na=msid-semantic: WMS *\r\n"
    );
    let payloads: Vec<String> = H264.iter().map(|(number, _)| number.to_string()).collect();
    out += &section("video", &payloads.join(" "), 0, direction, local, fingerprint);
    for (number, profile) in H264 {
        out += &format!("a=rtpmap:{number} H264/90000\r\na=rtcp-fb:{number} transport-cc\r\n");
        out += &format!("a=rtcp-fb:{number} nack\r\na=rtcp-fb:{number} nack pli\r\n");
        out +=
            &format!("a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}\r\n");
    }
    if direction == Direction::Send {
        out += &format!("a=msid:load load-0\r\na=ssrc:{SSRC} cname:load\r\na=ssrc:{SSRC} msid:load load-0\r\n");
    } else {
        out += &section("audio", &OPUS.to_string(), 1, direction, local, fingerprint);
        out += &format!("a=rtpmap:{OPUS} opus/48000/2\r\na=rtcp-fb:{OPUS} transport-cc\r\n");
        out += &format!("a=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n");
    }
    out
}

fn section(kind: &str, payloads: &str, mid: u8, direction: Direction, local: &Credentials, print: &str) -> String {
    let way = if direction == Direction::Receive { "recvonly" } else { "sendonly" };
    let Credentials { fragment, password } = local;
    format!(
        "m={kind} 9 UDP/TLS/RTP/SAVPF {payloads}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\na=ice-options:trickle\r\na=fingerprint:{print}\r\n\
         a=setup:actpass\r\na=mid:{mid}\r\na=extmap:{TRANSPORT_WIDE} {TRANSPORT_WIDE_URI}\r\na={way}\r\n\
         a=rtcp-mux\r\na=rtcp-rsize\r\n"
    )
}

impl Answer {
    /// Reads one; None where something is missing that no session can do without.
    pub(crate) fn read(text: &str) -> Option<Answer> {
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)).map(str::trim);
        let credentials =
            Credentials { fragment: value("ice-ufrag:")?.to_owned(), password: value("ice-pwd:")?.to_owned() };
        let candidates = text.lines().filter_map(candidate).collect();
        let active = value("setup:")? == "active";
        let video = text.lines().find_map(|line| line.strip_prefix("m=video ")).and_then(|line| {
            let mut words = line.split_whitespace();
            words.next().filter(|port| *port != "0")?;
            words.nth(1)?.parse().ok()
        });
        Some(Answer { credentials, fingerprint: value("fingerprint:")?.to_owned(), active, candidates, video })
    }
}

/// RFC 8839 section 5.1: `a=candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE`.
fn candidate(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split_whitespace().collect();
    let [_, "1", transport, _, address, port, "typ", "host", ..] = words[..] else { return None };
    let ip = transport.eq_ignore_ascii_case("udp").then(|| address.parse().ok()).flatten()?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// Payload types of H.264, each with the profile that it stands for.
pub(crate) const H264: [(u8, &str); 3] = [(102, "42e01f"), (104, "4d001f"), (106, "64001f")];
/// The payload type of Opus.
pub(crate) const OPUS: u8 = 111;
/// The header extension of transport-wide sequence numbers.
pub(crate) const TRANSPORT_WIDE: u8 = 3;
const TRANSPORT_WIDE_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// What a publisher of this tool sends under.
pub(crate) const SSRC: u32 = 0x4857_4c54;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let text = "v=0\r\na=fingerprint:sha-256 AB:CD\r\nm=video 9 UDP/TLS/RTP/SAVPF 104\r\na=setup:active\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=candidate:1 1 udp 2130706431 x.local 9 typ host\r\n\
            a=candidate:1 1 tcp 2130706431 192.0.2.1 9 typ host tcptype passive\r\n\
            a=candidate:1 1 UDP 2130706431 192.0.2.1 8189 typ host\r\na=candidate:1 2 udp 1 192.0.2.1 8190 typ host\r\n";
        let answer = Answer::read(text).unwrap();
        assert_eq!((answer.credentials.fragment.as_str(), answer.active, answer.video), ("abcd", true, Some(104)));
        assert_eq!(answer.candidates, [SocketAddr::from(([192, 0, 2, 1], 8189))]);
        assert_eq!(Answer::read("v=0\r\n"), None);
    }

    #[test]
    fn a_viewer_receives_both_and_a_publisher_sends_pictures() {
        let local = Credentials { fragment: "f".into(), password: "p".into() };
        let view = offer(Direction::Receive, &local, "sha-256 AA");
        assert_eq!((view.matches("a=recvonly").count(), view.matches("\r\nm=").count()), (2, 2));
        let publish = offer(Direction::Send, &local, "sha-256 AA");
        assert_eq!((publish.matches("a=sendonly").count(), publish.matches("\r\nm=").count()), (1, 1));
    }
}
