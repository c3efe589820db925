//! WebRTC both ways: publishers by WHIP (RFC 9725), viewers by WHEP, all over one port.

mod dtls;
mod header;
mod ice;
mod random;
mod sdp;
mod srtp;
mod stun;
mod transport;
