//! AV1CodecConfigurationRecord (the `av1C` box, AV1 in ISOBMFF section 2.3) to a [`VideoConfig`], and the few OBUs that
//! say whether a decoder can start. Section numbers are those of the AV1 bitstream specification.

use super::bits::Bits;
use super::{checked_size, nal};
use crate::media::{Codec, VideoConfig};

/// Reads the body of an `av1C` box. It must carry the sequence header, the only place that has the picture's size.
pub(super) fn config(record: &[u8]) -> Result<VideoConfig, String> {
    let mut bits = Bits::new(record);
    let version = bits.byte("marker and version")?;
    if version != 0x81 {
        return Err(format!("marker and version are {version:#04x}, not 0x81"));
    }
    let profile = bits.number(3, "seq_profile")?;
    let level = bits.number(5, "seq_level_idx_0")?;
    let tier = if bits.flag("seq_tier_0")? { 'H' } else { 'M' };
    let high = bits.flag("high_bitdepth")?;
    let twelve = bits.flag("twelve_bit")?;
    let depth = match (high, twelve) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    bits.skip(13, "monochrome to initial_presentation_delay")?;
    let header = Obus(bits.rest())
        .find_map(|obu| match obu {
            Ok((OBU_SEQUENCE_HEADER, body)) => Some(Ok(body)),
            Ok(_) => None,
            Err(reason) => Some(Err(reason)),
        })
        .ok_or("no sequence header in configOBUs")??;
    let (width, height) = sequence_size(header)?;
    let codecs = format!("av01.{profile}.{level:02}{tier}.{depth:02}");
    Ok(VideoConfig { codec: Codec::Av1, record: nal::owned(record), width, height, codecs })
}

/// True for a temporal unit whose first frame is a shown key frame and which brings a sequence header before it.
pub(super) fn is_random_access(payload: &[u8]) -> bool {
    let mut reduced = None;
    for obu in Obus(payload) {
        match obu {
            Ok((OBU_SEQUENCE_HEADER, body)) => reduced = Some(body.first().is_some_and(|first| first & 0x08 != 0)),
            Ok((OBU_FRAME_HEADER | OBU_FRAME, body)) => {
                // show_existing_frame 0, frame_type KEY_FRAME (0, two bits), show_frame 1. A reduced still picture
                // header leaves all three out, and is a shown key frame always.
                return match reduced {
                    Some(true) => true,
                    Some(false) => body.first().is_some_and(|first| first >> 4 == 0b0001),
                    None => false,
                };
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// max_frame_width and max_frame_height: sequence_header_obu() of section 5.5.1 up to there.
fn sequence_size(body: &[u8]) -> Result<(u32, u32), String> {
    let mut bits = Bits::new(body);
    bits.skip(4, "seq_profile")?;
    if bits.flag("reduced_still_picture_header")? {
        bits.skip(5, "seq_level_idx")?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.number(4, "frame_width_bits_minus_1")? as usize + 1;
    let height_bits = bits.number(4, "frame_height_bits_minus_1")? as usize + 1;
    let width = u64::from(bits.number(width_bits, "max_frame_width_minus_1")?) + 1;
    let height = u64::from(bits.number(height_bits, "max_frame_height_minus_1")?) + 1;
    checked_size(width, height)
}

/// From timing_info_present_flag to the last operating point.
fn skip_operating_points(bits: &mut Bits) -> Result<(), String> {
    let mut delay_bits = None;
    if bits.flag("timing_info_present_flag")? {
        bits.skip(64, "timing_info")?;
        if bits.flag("equal_picture_interval")? {
            skip_uvlc(bits)?;
        }
        if bits.flag("decoder_model_info_present_flag")? {
            delay_bits = Some(bits.number(5, "buffer_delay_length_minus_1")? as usize + 1);
            bits.skip(42, "decoder_model_info")?;
        }
    }
    let display_delay = bits.flag("initial_display_delay_present_flag")?;
    for _ in 0..=bits.number(5, "operating_points_cnt_minus_1")? {
        bits.skip(12, "operating_point_idc")?;
        if bits.number(5, "seq_level_idx")? > 7 {
            bits.flag("seq_tier")?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag("decoder_model_present_for_this_op")?
        {
            bits.skip(2 * delay_bits + 1, "operating_parameters_info")?;
        }
        if display_delay && bits.flag("initial_display_delay_present_for_this_op")? {
            bits.skip(4, "initial_display_delay_minus_1")?;
        }
    }
    Ok(())
}

/// uvlc() of section 4.10.3.
fn skip_uvlc(bits: &mut Bits) -> Result<(), String> {
    let mut zeros = 0;
    while !bits.flag("num_ticks_per_picture_minus_1")? {
        zeros += 1;
    }
    // A value of 32 or more leading zeros has no further bits.
    bits.skip(if zeros < 32 { zeros } else { 0 }, "num_ticks_per_picture_minus_1")
}

/// Walks OBUs (section 5.3): type and body. One without a size reaches to the end. Ends after an error.
struct Obus<'a>(&'a [u8]);

impl<'a> Iterator for Obus<'a> {
    type Item = Result<(u32, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let obu = self.split();
        if obu.is_err() {
            self.0 = &[];
        }
        Some(obu)
    }
}

impl<'a> Obus<'a> {
    fn split(&mut self) -> Result<(u32, &'a [u8]), String> {
        let mut bits = Bits::new(self.0);
        if bits.flag("obu_forbidden_bit")? {
            return Err("obu_forbidden_bit is set".to_owned());
        }
        let kind = bits.number(4, "obu_type")?;
        let extension = bits.flag("obu_extension_flag")?;
        let has_size = bits.flag("obu_has_size_field")?;
        bits.skip(if extension { 9 } else { 1 }, "obu_extension_header")?;
        let size = if has_size { leb128(&mut bits)? } else { bits.rest().len() };
        let body = bits.slice(size, "OBU body")?;
        self.0 = bits.rest();
        Ok((kind, body))
    }
}

/// leb128() of section 4.10.5: at most eight bytes, and a value of 32 bits.
fn leb128(bits: &mut Bits) -> Result<usize, String> {
    let mut value = 0_u64;
    for place in 0..8 {
        let byte = u64::from(bits.byte("obu_size")?);
        value |= (byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return u32::try_from(value).map(|size| size as usize).map_err(|_| "obu_size is out of range".to_owned());
        }
    }
    Err("obu_size is out of range".to_owned())
}

const OBU_SEQUENCE_HEADER: u32 = 1;
const OBU_FRAME_HEADER: u32 = 3;
const OBU_FRAME: u32 = 6;
