//! A DTLS handshake with changed datagrams, seen from both ends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::dtls(data));
