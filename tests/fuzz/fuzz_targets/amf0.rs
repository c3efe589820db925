//! Any bytes as AMF0. What is decoded can be encoded, and says the same again.
#![no_main]

use headwater::rtmp::amf0::{decode, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(values) = decode(data) {
        // NaN is not equal to itself, so the encodings are compared.
        let once = encode(&values);
        let again = decode(&once).map(|values| encode(&values));
        assert_eq!(again, Ok(once));
    }
});
