//! AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1) to a [`VideoConfig`]. Only what sizes the picture
//! is read from the sequence parameter set: an encoder whose level or VUI is wrong still plays everywhere.

use super::bits::{Bits, unescaped};
use super::nal;
use super::picture_size;
use crate::media::{Codec, VideoConfig};

/// Reads the body of an `avcC` box.
pub(super) fn config(record: &[u8]) -> Result<VideoConfig, String> {
    let mut bits = Bits::new(record);
    let version = bits.byte("configurationVersion")?;
    if version != 1 {
        return Err(format!("configurationVersion is {version}, not 1"));
    }
    let profile = bits.byte("AVCProfileIndication")?;
    let compatibility = bits.byte("profile_compatibility")?;
    let level = bits.byte("AVCLevelIndication")?;
    bits.skip(6, "reserved bits")?;
    nal::length_size(bits.number(2, "lengthSizeMinusOne")?)?;
    bits.skip(3, "reserved bits")?;
    if bits.number(5, "numOfSequenceParameterSets")? == 0 {
        return Err("no sequence parameter set".to_owned());
    }
    let length = bits.number(16, "sequenceParameterSetLength")? as usize;
    let (width, height, _) = sps(bits.slice(length, "sequenceParameterSetNALUnit")?)?;
    let codecs = format!("avc1.{profile:02x}{compatibility:02x}{level:02x}");
    Ok(VideoConfig { codec: Codec::H264, record: nal::owned(record), width, height, codecs })
}

/// True for an access unit whose NAL units are sound and have an IDR slice among them.
pub(super) fn is_random_access(record: &[u8], payload: &[u8]) -> bool {
    nal::any(record.get(LENGTH_SIZE_AT), payload, |header| header & 0x1f == NAL_IDR)
}

/// Whether the sequence parameter set of a record lets pictures be coded as fields.
pub(super) fn is_interlaced(record: &[u8]) -> bool {
    let length = record.get(SPS_LENGTH_AT..SPS_AT).map_or(0, |l| usize::from(l[0]) << 8 | usize::from(l[1]));
    let set = record.get(SPS_AT..SPS_AT + length).unwrap_or_default();
    sps(set).is_ok_and(|(_, _, fields)| fields)
}

/// Width and height after cropping, and whether there may be fields: seq_parameter_set_data() of ITU-T H.264 section 7.3.2.1.1 up to the crop.
fn sps(nal: &[u8]) -> Result<(u32, u32, bool), String> {
    if nal.first().is_none_or(|header| header & 0x1f != NAL_SPS) {
        return Err("the first parameter set is not a sequence parameter set".to_owned());
    }
    let plain = unescaped(nal);
    let mut bits = Bits::new(&plain);
    bits.skip(8, "NAL unit header")?;
    let profile = bits.byte("profile_idc")?;
    bits.skip(16, "constraint flags and level_idc")?;
    bits.ue("seq_parameter_set_id")?;
    let chroma = if CHROMA_PROFILES.contains(&profile) { chroma_array_type(&mut bits)? } else { 1 };
    bits.ue("log2_max_frame_num_minus4")?;
    picture_order_count(&mut bits)?;
    bits.ue("max_num_ref_frames")?;
    bits.flag("gaps_in_frame_num_value_allowed_flag")?;
    let width = (u64::from(bits.ue("pic_width_in_mbs_minus1")?) + 1) * 16;
    let map_height = (u64::from(bits.ue("pic_height_in_map_units_minus1")?) + 1) * 16;
    let fields = if bits.flag("frame_mbs_only_flag")? { 1 } else { 2 };
    if fields == 2 {
        bits.flag("mb_adaptive_frame_field_flag")?;
    }
    bits.flag("direct_8x8_inference_flag")?;
    let unit = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let (width, height) = picture_size(&mut bits, (width, map_height * fields), unit, "frame_cropping")?;
    Ok((width, height, fields == 2))
}

/// Reads the fields of the high profiles and gives ChromaArrayType.
fn chroma_array_type(bits: &mut Bits) -> Result<u32, String> {
    let format = bits.ue("chroma_format_idc")?;
    if format > 3 {
        return Err(format!("chroma_format_idc is {format}"));
    }
    let separate = format == 3 && bits.flag("separate_colour_plane_flag")?;
    bits.ue("bit_depth_luma_minus8")?;
    bits.ue("bit_depth_chroma_minus8")?;
    bits.flag("qpprime_y_zero_transform_bypass_flag")?;
    if bits.flag("seq_scaling_matrix_present_flag")? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.flag("seq_scaling_list_present_flag")? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(if separate { 0 } else { format })
}

/// Section 7.3.2.1.1.1: a list ends early where the next scale becomes zero.
fn skip_scaling_list(bits: &mut Bits, size: usize) -> Result<(), String> {
    let mut scale = 8_i64;
    for _ in 0..size {
        let next = (scale + bits.se("delta_scale")?).rem_euclid(256);
        if next == 0 {
            break;
        }
        scale = next;
    }
    Ok(())
}

fn picture_order_count(bits: &mut Bits) -> Result<(), String> {
    match bits.ue("pic_order_cnt_type")? {
        0 => {
            bits.ue("log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            bits.flag("delta_pic_order_always_zero_flag")?;
            bits.se("offset_for_non_ref_pic")?;
            bits.se("offset_for_top_to_bottom_field")?;
            // A lie about the count ends with the input, which is at most 65,535 bytes.
            for _ in 0..bits.ue("num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.se("offset_for_ref_frame")?;
            }
        }
        2 => {}
        other => return Err(format!("pic_order_cnt_type is {other}")),
    }
    Ok(())
}

/// Where the record keeps lengthSizeMinusOne.
const LENGTH_SIZE_AT: usize = 4;
/// Where it keeps the length of the first sequence parameter set, and the set.
const SPS_LENGTH_AT: usize = 6;
const SPS_AT: usize = 8;
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;

/// The values of profile_idc that carry chroma_format_idc.
const CHROMA_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
