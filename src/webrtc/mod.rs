//! WebRTC both ways: publishers by WHIP (RFC 9725), viewers by WHEP, all over one port.

mod arrivals;
mod batch;
mod clock;
mod control;
mod dtls;
mod header;
mod ice;
mod intake;
mod lane;
mod pack;
mod random;
mod reorder;
mod sdp;
mod srtp;
mod stun;
mod track;
mod transport;
mod unpack;
mod viewer;
