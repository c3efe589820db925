//! An offer of WHIP and WHEP: read, chosen from, answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::offer(data));
