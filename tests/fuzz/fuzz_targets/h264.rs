//! AVCDecoderConfigurationRecord and access units of H.264.
#![no_main]

mod record;

use headwater::media::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| record::run(input, codec::h264));
