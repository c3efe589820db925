//! A publisher's RTP and RTCP: order, repairs, and the frames of all codecs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::webrtc::fuzz::rtp(data));
