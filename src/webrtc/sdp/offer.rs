//! An offer (RFC 8829, RFC 9429): transport credentials, and what each media section can send or take.

use std::io::Cursor;

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::BadOffer;
use crate::media::{Codec, Kind};
use crate::webrtc::dtls::Fingerprint;

/// What a client offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// ICE user fragment of the peer.
    pub(crate) fragment: String,
    /// The certificate that the peer will show.
    pub(crate) fingerprint: Fingerprint,
    /// Who begins the DTLS handshake.
    pub(crate) setup: Setup,
    /// In the order of the offer; the answer has as many.
    pub(crate) media: Vec<Media>,
}

/// Who begins the DTLS handshake, RFC 8842.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Either: then the client does.
    ActPass,
    /// The client.
    Active,
    /// We.
    Passive,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Send,
    Receive,
    Both,
    Neither,
}

/// One media section.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    /// The token after `m=`, for the answer.
    pub(crate) name: String,
    /// The protocol after the port, for the answer.
    pub(crate) protocol: String,
    /// The formats, for the answer to a section that is refused.
    pub(crate) formats: Vec<String>,
    /// None for what is neither sound nor pictures.
    pub(crate) kind: Option<Kind>,
    pub(crate) mid: String,
    pub(crate) direction: Direction,
    /// Port 0 with nothing that says it is bundled: the section is not in use.
    pub(crate) disabled: bool,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) extensions: Vec<(u8, Extension)>,
    /// Simulcast layers that the client sends, as it names them.
    pub(crate) layers: Vec<String>,
    /// SSRCs of the client, each with that of its repairs.
    pub(crate) sources: Vec<(u32, Option<u32>)>,
}

/// Header extensions that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// RFC 8843: the media section.
    Mid,
    /// RFC 8852: the layer.
    Rid,
    /// RFC 8852: the layer that is repaired.
    RepairedRid,
    /// draft-holmer-rmcat-transport-wide-cc-extensions: a sequence number over all streams.
    TransportWide,
}

impl Extension {
    const ALL: [(Extension, &'static str); 4] = [
        (Extension::Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"),
        (Extension::Rid, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
        (Extension::RepairedRid, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
        (Extension::TransportWide, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    ];

    /// Its URI.
    pub(crate) fn uri(self) -> &'static str {
        Extension::ALL.iter().find(|(each, _)| *each == self).map_or("", |(_, uri)| uri)
    }
}

/// One payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) number: u8,
    /// As `a=rtpmap` has it: `H264/90000`.
    pub(crate) map: String,
    /// None for codecs that are not served, and for repairs.
    pub(crate) codec: Option<Codec>,
    /// Format parameters in the order of the offer, names in lower case.
    pub(crate) parameters: Vec<(String, String)>,
    /// Feedback messages that the client takes: `nack`, `nack pli`, `transport-cc`.
    pub(crate) feedback: Vec<String>,
    /// RTX: the payload type that this one repairs.
    pub(crate) repairs: Option<u8>,
}

impl Payload {
    /// A format parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }
}

impl Offer {
    /// Reads an offer.
    pub(crate) fn read(text: &str) -> Result<Offer, BadOffer> {
        if text.len() > LONGEST {
            return Err(BadOffer::Unusable("it is longer than 64 KiB"));
        }
        // Much of an offer comes back in our answer, where some readers take a carriage return alone for the end of a line.
        if text.replace("\r\n", "").contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(BadOffer::Malformed("there is a control character in it".to_owned()));
        }
        // The library wants what the specification wants, CRLF; people type LF.
        let lines = text.replace("\r\n", "\n").trim_end().replace('\n', "\r\n") + "\r\n";
        let description = SessionDescription::unmarshal(&mut Cursor::new(lines.as_bytes()))
            .map_err(|error| BadOffer::Malformed(error.to_string().chars().take(LONGEST_REASON).collect()))?;
        if description.media_descriptions.len() > MOST_SECTIONS {
            return Err(BadOffer::Unusable("it has more than 16 media sections"));
        }
        let session = Attributes(&description.attributes);
        if session.has("ice-lite") {
            return Err(BadOffer::Unusable("both ends are ICE-lite, so nobody would begin"));
        }
        let bundled = bundle(&session);
        let media: Vec<Media> = description.media_descriptions.iter().map(|each| section(each, &bundled)).collect();
        if media.iter().any(|media| media.mid.len() > LONGEST_TOKEN || media.mid.contains(char::is_whitespace)) {
            return Err(BadOffer::Unusable("an a=mid is longer than 64 characters, or more than a word"));
        }
        // Everything goes over one transport (RFC 9725 section 4.4.1), so the first section that is in use speaks for all.
        let used = media.iter().position(|media| !media.disabled).ok_or(BadOffer::Missing("media section in use"))?;
        let first = Attributes(&description.media_descriptions[used].attributes);
        let either = |name: &str| first.value(name).or_else(|| session.value(name));
        let fragment = either("ice-ufrag").filter(|text| !text.is_empty()).ok_or(BadOffer::Missing("a=ice-ufrag"))?;
        if !is_fragment(fragment) {
            return Err(BadOffer::Unusable(
                "a=ice-ufrag is longer than 256 characters, or has others than an ICE request can",
            ));
        }
        if either("ice-pwd").is_none_or(str::is_empty) {
            return Err(BadOffer::Missing("a=ice-pwd"));
        }
        let fingerprints = || first.values("fingerprint").chain(session.values("fingerprint"));
        if fingerprints().next().is_none() {
            return Err(BadOffer::Missing("a=fingerprint"));
        }
        let fingerprint = fingerprints()
            .find_map(Fingerprint::parse)
            .ok_or(BadOffer::Unusable("its fingerprint is no well-formed sha-256, sha-384 or sha-512"))?;
        let setup = match either("setup").unwrap_or("actpass") {
            "actpass" => Setup::ActPass,
            "active" => Setup::Active,
            "passive" => Setup::Passive,
            _ => return Err(BadOffer::Unusable("a=setup is none of actpass, active and passive")),
        };
        Ok(Offer { fragment: fragment.to_owned(), fingerprint, setup, media })
    }
}

/// Whether a user fragment can stand in the user name of a request, where a colon ends it (RFC 8445 section 7.2.2).
pub(crate) fn is_fragment(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn bundle(session: &Attributes<'_>) -> Vec<String> {
    let groups = session.values("group").filter_map(|group| group.strip_prefix("BUNDLE"));
    groups.flat_map(|mids| mids.split_whitespace().map(str::to_owned)).collect()
}

fn section(description: &MediaDescription, bundled: &[String]) -> Media {
    let name = &description.media_name;
    let attributes = Attributes(&description.attributes);
    let mid = attributes.value("mid").unwrap_or_default().to_owned();
    let kind = match name.media.as_str() {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    };
    let direction = match () {
        () if attributes.has("sendonly") => Direction::Send,
        () if attributes.has("recvonly") => Direction::Receive,
        () if attributes.has("inactive") => Direction::Neither,
        () => Direction::Both,
    };
    Media {
        name: name.media.clone(),
        protocol: name.protos.join("/"),
        formats: name.formats.clone(),
        kind,
        direction,
        disabled: name.port.value == 0 && !bundled.contains(&mid) && !attributes.has("bundle-only"),
        payloads: payloads(&name.formats, &attributes),
        extensions: extensions(&attributes),
        layers: layers(&attributes),
        sources: sources(&attributes),
        mid,
    }
}

fn payloads(formats: &[String], attributes: &Attributes<'_>) -> Vec<Payload> {
    let of = |name: &'static str, number: &str| {
        let number = number.to_owned();
        attributes.values(name).filter_map(move |value| {
            let (shown, rest) = value.split_once(' ')?;
            (shown == number || (shown == "*" && name == "rtcp-fb")).then_some(rest.trim())
        })
    };
    let payload = |format: &String| {
        let number: u8 = format.parse().ok().filter(|number| *number < 128)?;
        let map = of("rtpmap", format).next()?.to_owned();
        let parameters: Vec<_> = of("fmtp", format).flat_map(parameters).take(MOST_PARAMETERS).collect();
        let feedback = of("rtcp-fb", format).map(str::to_owned).take(MOST_PARAMETERS).collect();
        let mut payload = Payload { number, codec: codec(&map), map, parameters, feedback, repairs: None };
        if payload.map.to_ascii_lowercase().starts_with("rtx/") {
            payload.repairs = payload.parameter("apt").and_then(|apt| apt.parse().ok());
        }
        Some(payload)
    };
    let mut payloads: Vec<Payload> = Vec::new();
    for payload in formats.iter().take(MOST_PAYLOADS).filter_map(payload) {
        // One that is named twice would be described twice.
        if payloads.iter().all(|known| known.number != payload.number) {
            payloads.push(payload);
        }
    }
    payloads
}

fn codec(map: &str) -> Option<Codec> {
    match map.to_ascii_lowercase().as_str() {
        "h264/90000" => Some(Codec::H264),
        "h265/90000" => Some(Codec::H265),
        "av1/90000" => Some(Codec::Av1),
        "vp8/90000" => Some(Codec::Vp8),
        "vp9/90000" => Some(Codec::Vp9),
        "opus/48000/2" => Some(Codec::Opus),
        _ => None,
    }
}

fn parameters(line: &str) -> impl Iterator<Item = (String, String)> + '_ {
    line.split(';').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.trim().to_ascii_lowercase(), value.trim().to_owned())
    })
}

fn extensions(attributes: &Attributes<'_>) -> Vec<(u8, Extension)> {
    let read = |value: &str| {
        let mut words = value.split_whitespace();
        // A direction may follow the number.
        let number: u8 = words.next()?.split('/').next()?.parse().ok()?;
        let uri = words.next()?;
        let (extension, _) = Extension::ALL.iter().find(|(_, known)| *known == uri)?;
        // Beyond 14 the one-byte form cannot say it (RFC 8285).
        (1..=14).contains(&number).then_some((number, *extension))
    };
    attributes.values("extmap").filter_map(read).collect()
}

fn layers(attributes: &Attributes<'_>) -> Vec<String> {
    let send = attributes.values("rid").filter_map(|value| {
        let mut words = value.split_whitespace();
        let rid = words.next()?;
        let named =
            rid.len() <= LONGEST_RID && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (words.next()? == "send" && named).then(|| rid.to_owned())
    });
    send.take(MOST_LAYERS).collect()
}

fn sources(attributes: &Attributes<'_>) -> Vec<(u32, Option<u32>)> {
    let numbers = |text: &str| -> Vec<u32> { text.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let pairs: Vec<(u32, u32)> = attributes
        .values("ssrc-group")
        .filter_map(|group| group.strip_prefix("FID "))
        .filter_map(|group| numbers(group).try_into().ok())
        .map(|[primary, repair]: [u32; 2]| (primary, repair))
        .collect();
    let mut sources: Vec<(u32, Option<u32>)> = Vec::new();
    for ssrc in attributes.values("ssrc").filter_map(|value| value.split_whitespace().next()?.parse().ok()) {
        let is_repair = pairs.iter().any(|(_, repair)| *repair == ssrc);
        if !is_repair && sources.len() < MOST_LAYERS && sources.iter().all(|(known, _)| *known != ssrc) {
            let repair = pairs.iter().find(|(primary, _)| *primary == ssrc).map(|(_, repair)| *repair);
            sources.push((ssrc, repair));
        }
    }
    sources
}

struct Attributes<'a>(&'a [Attribute]);

impl<'a> Attributes<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.iter().filter(move |each| each.key == name).filter_map(|each| each.value.as_deref())
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|each| each.key == name).and_then(|each| each.value.as_deref()).map(str::trim)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|each| each.key == name)
    }
}

/// In bytes. Chromium's offers of everything it can have 10,000.
const LONGEST: usize = 64 * 1024;
const MOST_SECTIONS: usize = 16;
const MOST_PAYLOADS: usize = 128;
const MOST_PARAMETERS: usize = 32;
const MOST_LAYERS: usize = 4;
const LONGEST_RID: usize = 16;
const LONGEST_TOKEN: usize = 64;
/// Characters of what the library says of a line: it quotes the line.
const LONGEST_REASON: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    pub(crate) const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:0\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=ssrc:7 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n\
        a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:* transport-cc\r\n\
        a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rid:hi send\r\na=rid:lo send\r\na=rid:x recv\r\n\
        a=ssrc-group:FID 8 9\r\na=ssrc:8 cname:x\r\na=ssrc:9 cname:x\r\n";

    #[test]
    fn an_offer_is_read_whole() {
        let offer = Offer::read(OFFER).unwrap();
        assert_eq!((offer.fragment.as_str(), offer.setup, offer.media.len()), ("abcd", Setup::ActPass, 2));
        let (audio, video) = (&offer.media[0], &offer.media[1]);
        assert_eq!(
            (audio.kind, audio.payloads[0].codec, audio.mid.as_str()),
            (Some(Kind::Audio), Some(Codec::Opus), "0")
        );
        assert_eq!(audio.extensions, [(4, Extension::Mid)]);
        assert_eq!((audio.sources.as_slice(), video.sources.as_slice()), (&[(7, None)][..], &[(8, Some(9))][..]));
        assert_eq!(video.payloads[0].feedback, ["nack", "transport-cc"]);
        assert_eq!(video.payloads[0].parameter("profile-level-id"), Some("42e01f"));
        assert_eq!((video.payloads[1].codec, video.payloads[1].repairs), (None, Some(96)));
        assert_eq!(
            (video.layers.as_slice(), video.direction),
            (&["hi".to_owned(), "lo".to_owned()][..], Direction::Send)
        );
        assert!(Offer::read(&OFFER.replace("\r\n", "\n")).is_ok(), "with bare line feeds");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to, says) in [
            ("a=ice-ufrag:abcd\r\n", "", "no a=ice-ufrag"),
            ("a=ice-pwd:0123456789012345678901\r\n", "", "no a=ice-pwd"),
            ("sha-256", "sha-1", "fingerprint"),
            ("a=setup:actpass", "a=setup:holdconn", "a=setup"),
            ("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE 0 1\r\na=ice-lite\r\n", "ICE-lite"),
            ("v=0", "v=1", "no session description"),
            ("m=audio 9", "m=audio x", "no session description"),
            ("a=mid:0\r\n", "a=mid:0\ra=x\r\n", "control character"),
            ("a=mid:1\r\n", "a=mid:1 2\r\n", "a=mid"),
            ("a=ice-ufrag:abcd", "a=ice-ufrag:ab:cd", "a=ice-ufrag"),
        ] {
            let error = Offer::read(&OFFER.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{from:?} -> {to:?}: {error}");
        }
        assert!(Offer::read("").is_err() && Offer::read("v=0\r\n").is_err());
        assert!(Offer::read(&"v=0\r\n".repeat(20_000)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Offers with lines left out, doubled, cut and overwritten.
        #[test]
        fn no_offer_upsets_the_reader(seed in proptest::collection::vec((any::<u16>(), 0_u8..5, any::<u8>()), 1..8)) {
            let mut lines: Vec<Vec<u8>> = OFFER.split("\r\n").map(|line| line.as_bytes().to_vec()).collect();
            for (at, what, byte) in seed {
                let at = usize::from(at) % lines.len();
                match what {
                    0 => { let line = lines[at].clone(); lines.insert(at, line); }
                    1 => { let keep = usize::from(byte) % (lines[at].len() + 1); lines[at].truncate(keep); }
                    2 => { if let Some(place) = lines[at].get_mut(usize::from(byte) % 40) { *place = byte; } }
                    3 => { lines[at].extend([byte; 300]); }
                    _ => { if lines.len() > 1 { lines.remove(at); } }
                }
            }
            let text = String::from_utf8_lossy(&lines.join(&b"\r\n"[..])).into_owned();
            let _ = Offer::read(&text);
        }
    }
}
