//! Configuration records made of the parameter sets that travel in band, as RTP carries them: avcC, hvcC (ISO/IEC 14496-15)
//! and av1C. The readers beside it judge what comes out.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::{Bits, unescaped};

/// An `avcC` body of one sequence parameter set and its picture parameter sets, NAL units without start codes.
pub(super) fn h264(sps: &[u8], pps: &[Bytes]) -> Result<Bytes, String> {
    let head = sps.get(1..4).ok_or("a sequence parameter set of less than four bytes")?;
    let mut record = BytesMut::with_capacity(16 + sps.len() + pps.iter().map(Bytes::len).sum::<usize>());
    record.put_u8(1);
    record.put_slice(head);
    // Lengths of four bytes; one sequence parameter set.
    record.put_slice(&[0xff, 0xe1]);
    put(&mut record, sps)?;
    record.put_u8(u8::try_from(pps.len()).map_err(|_| "more than 255 picture parameter sets")?);
    pps.iter().try_for_each(|pps| put(&mut record, pps))?;
    Ok(record.freeze())
}

/// An `hvcC` body of a video, a sequence and picture parameter sets.
pub(super) fn h265(vps: &Bytes, sps: &Bytes, pps: &[Bytes]) -> Result<Bytes, String> {
    let plain = unescaped(sps);
    let mut bits = Bits::new(&plain);
    bits.skip(16 + 4, "NAL unit header and sps_video_parameter_set_id")?;
    let layers = bits.number(3, "sps_max_sub_layers_minus1")? + 1;
    let nested = bits.number(1, "sps_temporal_id_nesting_flag")?;
    let profile = bits.slice(12, "profile_tier_level")?;
    sub_layers(&mut bits, layers - 1)?;
    bits.ue("sps_seq_parameter_set_id")?;
    let chroma = bits.ue("chroma_format_idc")?;
    if chroma == 3 {
        bits.flag("separate_colour_plane_flag")?;
    }
    bits.ue("pic_width_in_luma_samples")?;
    bits.ue("pic_height_in_luma_samples")?;
    if bits.flag("conformance_window_flag")? {
        for _ in 0..4 {
            bits.ue("conf_win_offset")?;
        }
    }
    let (luma, other) = (bits.ue("bit_depth_luma_minus8")?, bits.ue("bit_depth_chroma_minus8")?);
    let mut record = BytesMut::with_capacity(64 + vps.len() + sps.len());
    record.put_u8(1);
    record.put_slice(profile);
    // min_spatial_segmentation_idc and parallelismType: unknown.
    record.put_slice(&[0xf0, 0, 0xfc]);
    record.put_slice(&[0xfc | (chroma & 3) as u8, 0xf8 | (luma & 7) as u8, 0xf8 | (other & 7) as u8]);
    // avgFrameRate: unspecified. Then numTemporalLayers, temporalIdNested, lengths of four bytes.
    record.put_slice(&[0, 0, (layers << 3) as u8 | (nested << 2) as u8 | 3, 3]);
    for (kind, units) in [(32, std::slice::from_ref(vps)), (33, std::slice::from_ref(sps)), (34, pps)] {
        record.put_u8(0x80 | kind);
        record.put_u16(u16::try_from(units.len()).map_err(|_| "too many parameter sets")?);
        units.iter().try_for_each(|unit| put(&mut record, unit))?;
    }
    Ok(record.freeze())
}

/// An `av1C` body of a sequence header OBU, which has its size field.
pub(super) fn av1(obu: &[u8]) -> Result<Bytes, String> {
    let mut bits = Bits::new(obu);
    bits.skip(5, "obu_type")?;
    let (extended, _) = (bits.flag("obu_extension_flag")?, bits.flag("obu_has_size_field")?);
    bits.skip(1, "obu_reserved_1bit")?;
    bits.skip(if extended { 8 } else { 0 }, "obu_extension_header")?;
    super::av1::leb128(&mut bits)?;
    let [profile, level, tier, depth, mono, x, y, position] = super::av1::sequence_format(bits.rest())?;
    let (high, twelve) = (u8::from(depth > 8), u8::from(depth > 10));
    let mut record = BytesMut::with_capacity(4 + obu.len());
    record.put_slice(&[
        0x81,
        profile << 5 | level,
        tier << 7 | high << 6 | twelve << 5 | mono << 4 | x << 3 | y << 2 | position,
        0,
    ]);
    record.put_slice(obu);
    Ok(record.freeze())
}

/// Passes over what profile_tier_level() says of sub-layers, ITU-T H.265 section 7.3.3.
fn sub_layers(bits: &mut Bits, count: u32) -> Result<(), String> {
    if count == 0 {
        return Ok(());
    }
    let mut length = 0;
    for _ in 0..count {
        length += if bits.flag("sub_layer_profile_present_flag")? { 88 } else { 0 };
        length += if bits.flag("sub_layer_level_present_flag")? { 8 } else { 0 };
    }
    bits.skip(2 * (8 - count as usize) + length, "sub-layers")
}

fn put(record: &mut BytesMut, unit: &[u8]) -> Result<(), String> {
    record.put_u16(u16::try_from(unit.len()).map_err(|_| "a parameter set of more than 65,535 bytes")?);
    record.put_slice(unit);
    Ok(())
}
