//! A STUN message, and the answer to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::stun(data));
