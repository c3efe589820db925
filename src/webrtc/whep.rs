//! What of a stream a viewer is offered by WHEP (draft-ietf-wish-whep): the source as it is where the viewer takes its codec
//! and the pictures come in the order they are shown, else a rung of the ladder. Pure but for looking at the stream.

use std::sync::Arc;

use super::feed::Origin;
use super::playing::Agreed;
use super::sdp::{Accepted, Extension, Media, Offer, Payload, Sending};
use super::whip;
use crate::hub::{Layer, RungState, Status, Stream};
use crate::media::{Codec, Config, Kind};

/// What of a section is accepted, and how packets are sent in it.
pub(super) struct Choice {
    pub(super) accepted: Accepted,
    pub(super) agreed: Agreed,
}

/// Numbers that are drawn for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) ssrc: u32,
    pub(super) repair: u32,
    pub(super) first: u16,
}

/// For each section of the offer, what is sent in it; at most one of each kind. `drawn`: for pictures and for sound.
pub(super) fn choose(offer: &Offer, status: &Status, drawn: [Drawn; 2], stream: &str) -> Vec<Option<Choice>> {
    let mut taken = [false, false];
    let choose = |media: &Media| {
        let kind = media.kind?;
        let place = usize::from(kind == Kind::Audio);
        if taken[place] || media.disabled || !media.direction.receives() {
            return None;
        }
        let config = if kind == Kind::Video { status.video.as_deref() } else { status.audio.as_deref() }?;
        let codec = payload(media, config, kind == Kind::Video && status.reordered)?;
        taken[place] = true;
        Some(choice(media, codec, drawn[place], stream))
    };
    offer.media.iter().map(choose).collect()
}

/// Where pictures may come from that are sent as `codec`, the best first. `pinned`: that one alone, if it is there.
pub(super) fn pictures(stream: &Arc<Stream>, codec: Codec, pinned: Option<&str>) -> Vec<Origin> {
    let status = stream.status();
    let Some(config) = &status.video else { return Vec::new() };
    let as_it_is = config.codec() == codec && !status.reordered;
    let mut origins: Vec<Origin> = as_it_is.then_some(Origin::Source).into_iter().collect();
    if as_it_is {
        origins.extend(layers(stream, codec));
    }
    let ladder = stream.ladder().borrow().clone().filter(|_| codec == Codec::H264);
    if let Some(ladder) = ladder {
        // Where the publisher sends layers, rungs are made for links alone that carry none of them.
        let least = origins.last().filter(|_| origins.len() > 1).map_or(f64::MAX, |least| least.bits(stream) * SMALLER);
        let stand_in = ladder.stand_in().filter(|_| !as_it_is);
        let rungs = stand_in.into_iter().chain(ladder.rungs());
        let shown = rungs.filter(|rung| rung.spec().pictures.is_some() && rung.state() != RungState::Shed);
        let rungs = shown.map(|rung| Origin::Rung(ladder.clone(), rung.clone()));
        origins.extend(rungs.filter(|rung| rung.bits(stream) < least));
    }
    match pinned {
        Some(pinned) if origins.iter().any(|origin| origin.name() == pinned) => {
            origins.retain(|origin| origin.name() == pinned);
        }
        _ => {}
    }
    origins
}

/// The layers below the source that come now, in the codec that was agreed on.
fn layers(stream: &Stream, codec: Codec) -> Vec<Origin> {
    let fits = |layer: &Arc<Layer>| layer.config().is_some_and(|config| config.codec() == codec);
    let below = stream.layers_below().into_iter();
    below.filter(fits).map(|layer| Origin::Layer(layer.clone(), format!("layer-{}", layer.name()))).collect()
}

/// A rung saves something beside a layer if it has at most this part of its bits.
const SMALLER: f64 = 0.8;

/// Where sound comes from that is sent as Opus; None while there is none.
pub(super) fn sound(stream: &Arc<Stream>) -> Option<Origin> {
    if stream.status().audio?.codec() == Codec::Opus {
        return Some(Origin::Source);
    }
    let ladder = stream.ladder().borrow().clone()?;
    let spoken = ladder.spoken()?.clone();
    Some(Origin::Rung(ladder, spoken))
}

/// The payload type that the source, or a rung in its place, is sent as.
fn payload<'a>(media: &'a Media, config: &Config, reordered: bool) -> Option<&'a Payload> {
    let of = |codec: Codec| {
        media.payloads.iter().filter(move |payload| payload.codec == Some(codec) && is_sendable(payload))
    };
    match config {
        Config::Audio(_) => of(Codec::Opus).next(),
        Config::Video(video) if video.codec == Codec::H264 => {
            let profile = |payload: &&Payload| {
                let asked = payload.parameter("profile-level-id").and_then(|text| text.get(..2));
                let ours = video.codecs.get(5..7);
                asked.zip(ours).is_some_and(|(asked, ours)| asked.eq_ignore_ascii_case(ours))
            };
            // Decoders take profiles that they did not offer; offers are what they prefer.
            of(Codec::H264).find(profile).or_else(|| of(Codec::H264).next())
        }
        Config::Video(video) => {
            let as_it_is = of(video.codec).next().filter(|_| !reordered);
            as_it_is.or_else(|| of(Codec::H264).next())
        }
    }
}

fn is_sendable(payload: &Payload) -> bool {
    payload.codec != Some(Codec::H264) || payload.parameter("packetization-mode") == Some("1")
}

fn choice(media: &Media, codec: &Payload, drawn: Drawn, stream: &str) -> Choice {
    let repairs = media.payloads.iter().find(|payload| payload.repairs == Some(codec.number));
    let nack = codec.feedback.iter().any(|message| message == "nack");
    let repairs = repairs.filter(|_| nack);
    let repair = repairs.map(|payload| (drawn.repair, payload.number));
    let sending = Sending { ssrc: drawn.ssrc, repair: repair.map(|(ssrc, _)| ssrc), stream: stream.to_owned() };
    let payloads = [Some(codec), repairs].into_iter().flatten().map(whip::understood).collect();
    let wide = codec.feedback.iter().any(|message| message == "transport-cc");
    let agreed = Agreed {
        // Filtered by codec above.
        codec: codec.codec.unwrap_or(Codec::Opus),
        ssrc: drawn.ssrc,
        payload_type: codec.number,
        repair,
        // Without a stream for repairs the same packet is sent again, which it cannot be with a number that differs.
        transport_wide: media.extension(Extension::TransportWide).filter(|_| wide && (repair.is_some() || !nack)),
        first: drawn.first,
    };
    Choice { accepted: Accepted { payloads, layers: Vec::new(), sending: Some(sending) }, agreed }
}
