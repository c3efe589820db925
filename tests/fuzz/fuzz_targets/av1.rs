//! AV1CodecConfigurationRecord and temporal units of AV1.
#![no_main]

mod record;

use headwater::media::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| record::run(input, codec::av1));
