//! What reaches a session: STUN, DTLS, SRTP and all else, over its path and over others.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::session(data));
