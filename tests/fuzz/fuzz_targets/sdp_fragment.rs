//! The fragment of a session description that a session is patched with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::fragment(data));
