//! HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1) to a [`VideoConfig`]. Only what sizes the picture
//! is read from the sequence parameter set.

use std::fmt::Write;

use super::bits::{Bits, unescaped};
use super::nal;
use super::picture_size;
use crate::media::{Codec, VideoConfig};

/// Reads the body of an `hvcC` box.
pub(super) fn config(record: &[u8]) -> Result<VideoConfig, String> {
    let mut bits = Bits::new(record);
    let version = bits.byte("configurationVersion")?;
    if version != 1 {
        return Err(format!("configurationVersion is {version}, not 1"));
    }
    let codecs = codec_string(&mut bits)?;
    // Segmentation, parallelism, chroma format, bit depths and frame rate: 2 + 1 + 1 + 1 + 1 + 2 bytes.
    bits.skip(64, "min_spatial_segmentation_idc to avgFrameRate")?;
    bits.skip(6, "constantFrameRate to temporalIdNested")?;
    nal::length_size(bits.number(2, "lengthSizeMinusOne")?)?;
    let (width, height) = sps_size(first_sps(&mut bits)?)?;
    Ok(VideoConfig { codec: Codec::H265, record: nal::owned(record), width, height, codecs })
}

/// True for an access unit whose NAL units are sound and have a slice of an IDR, BLA or CRA picture among them.
/// CRA counts because encoders with open groups (x265 by default) send no other key frames: a decoder that starts there
/// leaves out the leading pictures that refer to what it never got (ISO/IEC 23008-2 section 8.1.3).
pub(super) fn is_random_access(record: &[u8], payload: &[u8]) -> bool {
    nal::any(record.get(LENGTH_SIZE_AT), payload, |header| (NAL_BLA..=NAL_CRA).contains(&(header >> 1 & 0x3f)))
}

/// RFC 6381 string of ISO/IEC 14496-15 annex E.3, from general_profile_space to general_level_idc.
fn codec_string(bits: &mut Bits) -> Result<String, String> {
    let space = bits.number(2, "general_profile_space")?;
    let tier = if bits.flag("general_tier_flag")? { 'H' } else { 'L' };
    let profile = bits.number(5, "general_profile_idc")?;
    let compatibility = bits.number(32, "general_profile_compatibility_flags")?.reverse_bits();
    let constraints = bits.slice(6, "general_constraint_indicator_flags")?;
    let level = bits.byte("general_level_idc")?;
    let space = ["", "A", "B", "C"].get(space as usize).copied().unwrap_or_default();
    let mut text = format!("hvc1.{space}{profile}.{compatibility:X}.{tier}{level}");
    let kept = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(kept) {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{byte:X}");
    }
    Ok(text)
}

/// Walks the parameter set arrays to the first sequence parameter set.
fn first_sps<'a>(bits: &mut Bits<'a>) -> Result<&'a [u8], String> {
    for _ in 0..bits.byte("numOfArrays")? {
        let kind = bits.byte("NAL_unit_type")? & 0x3f;
        for _ in 0..bits.number(16, "numNalus")? {
            let length = bits.number(16, "nalUnitLength")? as usize;
            let unit = bits.slice(length, "nalUnit")?;
            if kind == NAL_SPS {
                return Ok(unit);
            }
        }
    }
    Err("no sequence parameter set".to_owned())
}

/// Width and height after cropping: seq_parameter_set_rbsp() of ITU-T H.265 section 7.3.2.2.1 up to the conformance
/// window.
fn sps_size(nal: &[u8]) -> Result<(u32, u32), String> {
    let plain = unescaped(nal);
    let mut bits = Bits::new(&plain);
    bits.skip(16, "NAL unit header")?;
    bits.skip(4, "sps_video_parameter_set_id")?;
    let sub_layers = bits.number(3, "sps_max_sub_layers_minus1")?;
    bits.flag("sps_temporal_id_nesting_flag")?;
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.ue("sps_seq_parameter_set_id")?;
    let chroma = bits.ue("chroma_format_idc")?;
    if chroma > 3 {
        return Err(format!("chroma_format_idc is {chroma}"));
    }
    if chroma == 3 {
        bits.flag("separate_colour_plane_flag")?;
    }
    let width = u64::from(bits.ue("pic_width_in_luma_samples")?);
    let height = u64::from(bits.ue("pic_height_in_luma_samples")?);
    let unit = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    picture_size(&mut bits, (width, height), unit, "conformance_window")
}

/// profile_tier_level(1, sub_layers) of section 7.3.3.
fn skip_profile_tier_level(bits: &mut Bits, sub_layers: u32) -> Result<(), String> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    bits.skip(PROFILE + LEVEL, "general profile and level")?;
    if sub_layers == 0 {
        return Ok(());
    }
    let mut later = 0;
    for layer in 0..8 {
        let present = bits.number(2, "sub_layer_profile_present_flag")? as usize;
        if layer < sub_layers {
            later += (present >> 1) * PROFILE + (present & 1) * LEVEL;
        }
    }
    bits.skip(later, "sub-layer profiles and levels")
}

/// Where the record keeps lengthSizeMinusOne.
const LENGTH_SIZE_AT: usize = 21;
const NAL_BLA: u8 = 16;
const NAL_CRA: u8 = 21;
const NAL_SPS: u8 = 33;
