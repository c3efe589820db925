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
        operating_points(&mut bits)?;
    }
    let width_bits = bits.number(4, "frame_width_bits_minus_1")? as usize + 1;
    let height_bits = bits.number(4, "frame_height_bits_minus_1")? as usize + 1;
    let width = u64::from(bits.number(width_bits, "max_frame_width_minus_1")?) + 1;
    let height = u64::from(bits.number(height_bits, "max_frame_height_minus_1")?) + 1;
    checked_size(width, height)
}

/// What av1C says again: profile, level, tier, bits a sample, monochrome, both subsamplings, sample position. From
/// sequence_header_obu() of section 5.5.1 and color_config() of 5.5.2.
pub(super) fn sequence_format(body: &[u8]) -> Result<[u8; 8], String> {
    let mut bits = Bits::new(body);
    let profile = bits.number(3, "seq_profile")?;
    bits.flag("still_picture")?;
    let reduced = bits.flag("reduced_still_picture_header")?;
    let (level, tier) = match reduced {
        true => (bits.number(5, "seq_level_idx")?, 0),
        false => operating_points(&mut bits)?,
    };
    let sides = [bits.number(4, "frame_width_bits_minus_1")?, bits.number(4, "frame_height_bits_minus_1")?];
    bits.skip(sides[0] as usize + sides[1] as usize + 2, "max_frame_size")?;
    if !reduced && bits.flag("frame_id_numbers_present_flag")? {
        bits.skip(7, "frame_id_length")?;
    }
    bits.skip(3, "use_128x128_superblock to enable_intra_edge_filter")?;
    if !reduced {
        skip_tools(&mut bits)?;
    }
    bits.skip(3, "enable_superres to enable_restoration")?;
    let [depth, mono, x, y, position] = color(&mut bits, profile)?;
    Ok([profile as u8, level as u8, tier as u8, depth, mono, x, y, position])
}

/// From enable_interintra_compound to order_hint_bits_minus_1.
fn skip_tools(bits: &mut Bits) -> Result<(), String> {
    bits.skip(4, "enable_interintra_compound to enable_dual_filter")?;
    let order = bits.flag("enable_order_hint")?;
    bits.skip(if order { 2 } else { 0 }, "enable_jnt_comp")?;
    let chosen = bits.flag("seq_choose_screen_content_tools")?;
    let screen = chosen || bits.flag("seq_force_screen_content_tools")?;
    if screen && !bits.flag("seq_choose_integer_mv")? {
        bits.skip(1, "seq_force_integer_mv")?;
    }
    bits.skip(if order { 3 } else { 0 }, "order_hint_bits_minus_1")
}

/// Bits a sample, monochrome, subsampling in x and y, and the chroma sample position.
fn color(bits: &mut Bits, profile: u32) -> Result<[u8; 5], String> {
    let high = bits.flag("high_bitdepth")?;
    let depth = match high {
        true if profile == 2 && bits.flag("twelve_bit")? => 12,
        true => 10,
        false => 8,
    };
    let mono = profile != 1 && bits.flag("mono_chrome")?;
    let described = bits.flag("color_description_present_flag")?;
    let description = if described { bits.number(24, "color_description")? } else { 0 };
    if mono {
        return Ok([depth, 1, 1, 1, 0]);
    }
    // BT.709 primaries, sRGB transfer and identity matrix: always 4:4:4, and nothing more is said.
    if description == 0x01_0d_00 {
        return Ok([depth, 0, 0, 0, 0]);
    }
    bits.flag("color_range")?;
    let (x, y) = match profile {
        0 => (true, true),
        1 => (false, false),
        _ if depth == 12 => {
            let x = bits.flag("subsampling_x")?;
            (x, x && bits.flag("subsampling_y")?)
        }
        _ => (true, false),
    };
    let position = if x && y { bits.number(2, "chroma_sample_position")? as u8 } else { 0 };
    Ok([depth, 0, u8::from(x), u8::from(y), position])
}

/// From timing_info_present_flag to the last operating point: seq_level_idx and seq_tier of the first.
fn operating_points(bits: &mut Bits) -> Result<(u32, u32), String> {
    let mut first = None;
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
        let level = bits.number(5, "seq_level_idx")?;
        let tier = if level > 7 { bits.number(1, "seq_tier")? } else { 0 };
        first.get_or_insert((level, tier));
        if let Some(delay_bits) = delay_bits
            && bits.flag("decoder_model_present_for_this_op")?
        {
            bits.skip(2 * delay_bits + 1, "operating_parameters_info")?;
        }
        if display_delay && bits.flag("initial_display_delay_present_for_this_op")? {
            bits.skip(4, "initial_display_delay_minus_1")?;
        }
    }
    // There is one at least.
    Ok(first.unwrap_or_default())
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
pub(super) fn leb128(bits: &mut Bits) -> Result<usize, String> {
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
