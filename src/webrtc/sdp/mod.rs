//! Session descriptions: what an [`Offer`] says, and the answer to it. Pure; `whip` and `whep` choose, `http` carries.

mod answer;
mod fragment;
mod offer;

pub(super) use answer::{Accepted, Answer, Candidate, Sending};
pub(super) use fragment::Fragment;
pub(super) use offer::{Extension, Media, Offer, Payload, Setup};

/// Why an offer cannot be answered. The texts are for whoever develops the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOffer {
    /// Not a session description.
    #[error("the body is no session description: {0}")]
    Malformed(String),
    /// Something that every WebRTC offer has is not there.
    #[error("the offer has no {0}")]
    Missing(&'static str),
    /// Something in it cannot be served.
    #[error("the offer cannot be answered: {0}")]
    Unusable(&'static str),
}
