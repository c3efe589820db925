//! Any bytes as FLV video and audio tag bodies, and as the units within.
#![no_main]

use bytes::Bytes;
use headwater::media::flv::{self, units};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let _ = flv::video(&body);
    let _ = flv::audio(&body);
    for length_size in 1..=4 {
        if let Ok(clean) = units::nal_units(body.clone(), length_size) {
            assert_eq!(units::nal_units(clean.payload.clone(), length_size).map(|c| c.payload), Ok(clean.payload));
        }
    }
    if let Ok(clean) = units::av1_temporal_unit(body) {
        assert_eq!(units::av1_temporal_unit(clean.clone()), Ok(clean));
    }
});
