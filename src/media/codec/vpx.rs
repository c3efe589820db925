//! VP8 and VP9: what a key frame's header says of its pictures. RFC 6386 section 9.1; VP9 bitstream specification, 7.2.

use bytes::Bytes;

use super::bits::Bits;
use super::checked_size;
use crate::media::{Codec, VideoConfig};

/// From a VP8 key frame.
pub(super) fn vp8(frame: &[u8]) -> Result<VideoConfig, String> {
    let head: [u8; 10] =
        frame.get(..10).and_then(|head| head.try_into().ok()).ok_or("a frame of less than 10 bytes")?;
    if !is_vp8_key(frame) || head[3..6] != [0x9d, 0x01, 0x2a] {
        return Err("not a key frame".to_owned());
    }
    let side = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]) & 0x3fff);
    let (width, height) = checked_size(side(6), side(8))?;
    let codecs = "vp08.00.31.08".to_owned();
    Ok(VideoConfig { codec: Codec::Vp8, record: record(0, 8), width, height, codecs })
}

/// A VP8 frame that depends on none before.
pub(super) fn is_vp8_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// From a VP9 key frame, or a superframe that begins with one.
pub(super) fn vp9(frame: &[u8]) -> Result<VideoConfig, String> {
    let header = vp9_header(frame)?.ok_or("not a key frame")?;
    let Vp9 { profile, depth, width, height } = header;
    // Level 3.1 stands for "something usual": nobody who plays VP9 over RTP looks at it.
    let codecs = format!("vp09.{profile:02}.31.{depth:02}");
    Ok(VideoConfig { codec: Codec::Vp9, record: record(profile, depth), width, height, codecs })
}

/// A VP9 frame that depends on none before.
pub(super) fn is_vp9_key(frame: &[u8]) -> bool {
    matches!(vp9_header(frame), Ok(Some(_)))
}

/// The body of a `vpcC` box (VP Codec ISO Media File Format Binding, section 2.2) with its version: level 3.1, 4:2:0 of
/// BT.709 in studio range.
fn record(profile: u8, depth: u8) -> Bytes {
    Bytes::copy_from_slice(&[1, 0, 0, 0, profile, 31, depth << 4 | 1 << 1, 1, 1, 1, 0, 0])
}

struct Vp9 {
    profile: u8,
    depth: u8,
    width: u32,
    height: u32,
}

/// None for a frame that is no key frame.
fn vp9_header(frame: &[u8]) -> Result<Option<Vp9>, String> {
    let mut bits = Bits::new(frame);
    if bits.number(2, "frame_marker")? != 2 {
        return Err("no VP9 frame".to_owned());
    }
    let (low, high) = (bits.number(1, "profile")?, bits.number(1, "profile")?);
    let profile = (high << 1 | low) as u8;
    if profile == 3 {
        bits.number(1, "reserved")?;
    }
    let (existing, inter) = (bits.flag("show_existing_frame")?, bits.flag("frame_type")?);
    if existing || inter {
        return Ok(None);
    }
    bits.number(2, "show_frame")?;
    if bits.number(24, "sync_code")? != 0x49_83_42 {
        return Err("a key frame without its sync code".to_owned());
    }
    let depth = match profile >= 2 {
        true if bits.flag("ten_or_twelve_bit")? => 12,
        true => 10,
        false => 8,
    };
    let subsampled = profile & 1 == 1;
    if bits.number(3, "color_space")? != SRGB {
        bits.number(1, "color_range")?;
        if subsampled {
            bits.number(3, "subsampling")?;
        }
    } else if subsampled {
        bits.number(1, "reserved")?;
    }
    let (width, height) = (bits.number(16, "frame_width")?, bits.number(16, "frame_height")?);
    let (width, height) = checked_size(u64::from(width) + 1, u64::from(height) + 1)?;
    Ok(Some(Vp9 { profile, depth, width, height }))
}

const SRGB: u32 = 7;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_come_of_key_frames() {
        // 640x360, as libvpx writes it.
        let key = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
        let config = vp8(&key).unwrap();
        assert_eq!((config.width, config.height, config.record.len()), (640, 360, 12));
        assert!(vp8(&[0x11; 10]).is_err() && vp8(&key[..9]).is_err());
        // Profile 0, key, shown; sync code; color space 2 (BT.709); 640x360.
        let key = [0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0, 0x16, 0x70];
        let config = vp9(&key).unwrap();
        assert_eq!((config.width, config.height, config.codecs.as_str()), (640, 360, "vp09.00.31.08"));
        assert!(is_vp9_key(&key) && !is_vp9_key(&[0x86, 0, 0]) && !is_vp9_key(&[]));
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (vp8(&bytes), vp9(&bytes));
        }
    }
}
