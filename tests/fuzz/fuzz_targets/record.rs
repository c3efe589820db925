//! What the targets of codec configurations have in common. Their input: the length of a record in two bytes, the
//! record, and an access unit to go with it.

use bytes::Bytes;
use headwater::media::Config;
use headwater::media::codec::{self, BadConfig};
use headwater::media::fmp4::{self, Run, Sample};

/// Parses the record, and takes what comes of it through everything that a stream would.
pub fn run(input: &[u8], parse: impl Fn(&Bytes) -> Result<Config, BadConfig>) {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (record, payload) = rest.split_at(length);
    match parse(&Bytes::copy_from_slice(record)) {
        Ok(config) => {
            sane(&config);
            stream(&config, payload);
        }
        Err(error) => assert!(!error.reason.is_empty() && error.reason.len() < 200, "{error}"),
    }
}

/// What every reader of a configuration relies on.
fn sane(config: &Config) {
    // The longest is `hvc1.A31.FFFFFFFF.H255` and six constraint bytes.
    assert!(config.codecs().is_ascii() && (4..=40).contains(&config.codecs().len()), "{config:?}");
    match config {
        Config::Video(video) => {
            assert!((1..=16_384).contains(&video.width) && (1..=16_384).contains(&video.height), "{config:?}");
        }
        Config::Audio(audio) => {
            assert!((4_000..=192_000).contains(&audio.sample_rate), "{config:?}");
            assert!((1..=255).contains(&audio.channels), "{config:?}");
        }
    }
}

fn stream(config: &Config, payload: &[u8]) {
    let key = codec::is_random_access(config, payload);
    assert!(!key || !payload.is_empty());
    let duration = codec::packet_samples(config, payload);
    assert!(duration <= 5_760, "{duration} samples");
    let init = fmp4::init(&[config]);
    assert!(codec::silence(config).is_none_or(|silence| !silence.is_empty()));
    let sample = Sample { duration, composition_offset: 0, key, payload: Bytes::copy_from_slice(payload) };
    for boxes in [init, fmp4::fragment(1, &[Run { decode_time: 0, samples: &[sample] }])] {
        boxes_add_up(&boxes);
    }
}

/// The top-level boxes fill the bytes exactly.
fn boxes_add_up(mut bytes: &[u8]) {
    while let Some(size) = bytes.first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!(size >= 8 && size <= bytes.len(), "a box of {size} bytes in {}", bytes.len());
        bytes = &bytes[size..];
    }
    assert!(bytes.is_empty());
}
