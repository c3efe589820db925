//! What is accepted of a publisher's offer (RFC 9725): one stream of sound, and one of pictures or its simulcast layers. Pure.

use super::intake::Section;
use super::sdp::{Accepted, Extension, Media, Offer, Payload};
use crate::media::{Codec, Kind};

/// For each section of the offer, what is accepted of it; and the accepted ones as an intake wants them. None where nothing
/// in the offer can be taken.
pub(super) fn accept(offer: &Offer) -> Option<(Vec<Option<Accepted>>, Vec<Section>)> {
    let (mut accepted, mut sections) = (Vec::new(), Vec::new());
    let mut taken = [false, false];
    for media in &offer.media {
        let place = media.kind.map(|kind| usize::from(kind == Kind::Audio));
        let payloads = match place {
            Some(place) if !taken[place] && !media.disabled && media.direction.sends() => payloads(media),
            _ => Vec::new(),
        };
        if payloads.is_empty() {
            accepted.push(None);
            continue;
        }
        if let Some(place) = place {
            taken[place] = true;
        }
        sections.push(section(media, &payloads));
        accepted.push(Some(Accepted { payloads, layers: media.layers.clone(), sending: None }));
    }
    (!sections.is_empty()).then_some((accepted, sections))
}

/// The codecs that are taken, the one that suits best first, each with its repairs; what the client does not choose costs
/// nothing.
fn payloads(media: &Media) -> Vec<Payload> {
    let mut codecs: Vec<&Payload> = media.payloads.iter().filter(|payload| is_taken(media, payload)).collect();
    codecs.sort_by_key(|payload| rank(payload));
    let mut chosen = Vec::new();
    for codec in codecs {
        let repairs = media.payloads.iter().find(|payload| payload.repairs == Some(codec.number));
        chosen.extend([Some(codec), repairs].into_iter().flatten().map(understood));
    }
    chosen
}

fn is_taken(media: &Media, payload: &Payload) -> bool {
    let of_kind = payload.codec.is_some_and(|codec| Some(codec.kind()) == media.kind);
    // RFC 6184 section 6.2: without fragments no key frame fits a packet; the interleaved mode nobody has.
    let mode = payload.parameter("packetization-mode").unwrap_or("0");
    of_kind && (payload.codec != Some(Codec::H264) || matches!(mode, "0" | "1"))
}

/// The lower the better. H.264 needs no rung for anybody; whole frames in packets are worth more than a profile.
fn rank(payload: &Payload) -> u8 {
    match payload.codec {
        Some(Codec::H264) if payload.parameter("packetization-mode") == Some("1") => 0,
        Some(Codec::H264) => 1,
        Some(Codec::H265) => 2,
        Some(Codec::Av1) => 3,
        Some(Codec::Vp9) => 4,
        _ => 5,
    }
}

/// Without the feedback that is not spoken here.
pub(super) fn understood(payload: &Payload) -> Payload {
    let feedback = payload.feedback.iter().filter(|message| FEEDBACK.contains(&message.as_str())).cloned().collect();
    Payload { feedback, ..payload.clone() }
}

fn section(media: &Media, payloads: &[Payload]) -> Section {
    let codecs = payloads.iter().filter_map(|payload| payload.codec.map(|codec| (payload.number, codec))).collect();
    let repairs = payloads.iter().filter_map(|payload| payload.repairs.map(|of| (payload.number, of))).collect();
    let nack = payloads.iter().any(|payload| payload.feedback.iter().any(|message| message == "nack"));
    Section {
        mid: media.mid.clone(),
        codecs,
        repairs,
        nack,
        sources: media.sources.clone(),
        layers: media.layers.clone(),
        extensions: [Extension::Mid, Extension::Rid, Extension::RepairedRid, Extension::TransportWide]
            .map(|extension| media.extension(extension)),
    }
}

const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "transport-cc"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offer(video: &str) -> Offer {
        let text = format!(
            "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF {video}\
             a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=mid:0\r\na=sendonly\r\n\
             a=fingerprint:sha-256 {}\r\n",
            ["AB"; 32].join(":")
        );
        Offer::read(&text).unwrap()
    }

    #[test]
    fn h264_comes_first_and_unknown_codecs_not_at_all() {
        let offer = offer(
            "96 97 98 99 100\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 nack\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 H264/90000\r\n\
             a=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:99 H264/90000\r\na=rtpmap:100 ulpfec/90000\r\n",
        );
        let (accepted, sections) = accept(&offer).unwrap();
        let numbers: Vec<u8> = accepted[0].as_ref().unwrap().payloads.iter().map(|payload| payload.number).collect();
        assert_eq!(numbers, [98, 99, 96, 97]);
        assert_eq!(accepted[0].as_ref().unwrap().payloads[2].feedback, ["nack"]);
        assert_eq!(sections[0].codecs, [(98, Codec::H264), (99, Codec::H264), (96, Codec::Vp8)]);
        assert_eq!((sections[0].repairs.as_slice(), sections[0].nack), (&[(97, 96)][..], true));
    }

    #[test]
    fn an_offer_of_nothing_usable_is_not_accepted() {
        assert!(accept(&offer("96\r\na=rtpmap:96 theora/90000\r\n")).is_none());
        assert!(accept(&offer("96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=2\r\n")).is_none());
    }
}
