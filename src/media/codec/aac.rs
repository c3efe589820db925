//! AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1) to an [`AudioConfig`], and a frame of silence. Knows the
//! profiles that browsers play: Main, LC, SSR and LTP, bare or with SBR (HE-AAC) and parametric stereo (HE-AAC v2).

use super::bits::Bits;
use super::nal;
use crate::media::{AudioConfig, Codec};

/// Reads an AudioSpecificConfig.
pub(super) fn config(record: &[u8]) -> Result<AudioConfig, String> {
    let mut bits = Bits::new(record);
    let mut object_type = read_object_type(&mut bits)?;
    let core_rate = read_rate(&mut bits)?;
    let layout = bits.number(4, "channelConfiguration")?;
    let mut extension = Extension::default();
    if object_type == SBR || object_type == PS {
        extension = Extension { rate: Some(read_rate(&mut bits)?), stereo: object_type == PS };
        object_type = read_object_type(&mut bits)?;
    }
    if !(1..=4).contains(&object_type) {
        return Err(format!("audio object type {object_type} is not supported; send AAC-LC or HE-AAC"));
    }
    let core = core_config(&mut bits, layout)?;
    if extension.rate.is_none() {
        extension = sync_extension(&mut bits);
    }
    output(record, object_type, core_rate, core, extension)
}

/// A frame that decodes to digital silence: one element whose spectrum is empty. For AAC-LC in mono and stereo.
pub(super) fn silence(config: &AudioConfig) -> Option<&'static [u8]> {
    match (config.codecs.as_str(), config.channels) {
        // SCE, or CPE with a common window; long window, max_sfb 0, no tools; END.
        ("mp4a.40.2", 1) => Some(&[0x00, 0x00, 0x00, 0x07]),
        ("mp4a.40.2", 2) => Some(&[0x21, 0x00, 0x00, 0x00, 0x00, 0x1c]),
        _ => None,
    }
}

/// What the core decoder puts out, before SBR and parametric stereo.
struct Core {
    frame_samples: u32,
    channels: u32,
}

/// Spectral band replication and parametric stereo, however they were signalled.
#[derive(Default)]
struct Extension {
    /// Output rate of SBR; none without it.
    rate: Option<u32>,
    stereo: bool,
}

fn output(
    record: &[u8],
    object_type: u32,
    core_rate: u32,
    core: Core,
    extension: Extension,
) -> Result<AudioConfig, String> {
    let sample_rate = extension.rate.unwrap_or(core_rate);
    let frame_samples = if sample_rate == core_rate {
        // Also SBR in its downsampled form: as many samples as without it.
        core.frame_samples
    } else if sample_rate == core_rate * 2 {
        core.frame_samples * 2
    } else {
        return Err(format!("SBR from {core_rate} Hz to {sample_rate} Hz: must be the same rate or twice it"));
    };
    let channels = if extension.stereo && core.channels == 1 { 2 } else { core.channels };
    let signalled = match extension {
        Extension { rate: None, .. } => object_type,
        Extension { stereo: false, .. } => SBR,
        Extension { stereo: true, .. } => PS,
    };
    Ok(AudioConfig {
        codec: Codec::Aac,
        record: nal::owned(record),
        sample_rate,
        channels,
        frame_samples: Some(frame_samples),
        codecs: format!("mp4a.40.{signalled}"),
    })
}

fn read_object_type(bits: &mut Bits) -> Result<u32, String> {
    match bits.number(5, "audioObjectType")? {
        31 => Ok(32 + bits.number(6, "audioObjectTypeExt")?),
        plain => Ok(plain),
    }
}

fn read_rate(bits: &mut Bits) -> Result<u32, String> {
    let index = bits.number(4, "samplingFrequencyIndex")?;
    let rate = match index {
        15 => bits.number(24, "samplingFrequency")?,
        _ => *RATES.get(index as usize).ok_or_else(|| format!("samplingFrequencyIndex is {index}"))?,
    };
    if RATE_RANGE.contains(&rate) { Ok(rate) } else { Err(format!("sampling frequency of {rate} Hz")) }
}

/// GASpecificConfig of section 4.4.1.
fn core_config(bits: &mut Bits, layout: u32) -> Result<Core, String> {
    let frame_samples = if bits.flag("frameLengthFlag")? { 960 } else { 1024 };
    if bits.flag("dependsOnCoreCoder")? {
        bits.skip(14, "coreCoderDelay")?;
    }
    let extended = bits.flag("extensionFlag")?;
    let channels = match layout {
        0 => program_channels(bits)?,
        1..=6 => layout,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => return Err(format!("channelConfiguration is {layout}")),
    };
    if extended {
        bits.flag("extensionFlag3")?;
    }
    Ok(Core { frame_samples, channels })
}

/// Counts the channels of a program_config_element (section 4.4.1.1) and passes over it.
fn program_channels(bits: &mut Bits) -> Result<u32, String> {
    bits.skip(10, "element_instance_tag to sampling_frequency_index")?;
    let mut elements = 0;
    for field in ["num_front_channel_elements", "num_side_channel_elements", "num_back_channel_elements"] {
        elements += bits.number(4, field)?;
    }
    let effects = bits.number(2, "num_lfe_channel_elements")?;
    let data = bits.number(3, "num_assoc_data_elements")? as usize;
    let coupled = bits.number(4, "num_valid_cc_elements")? as usize;
    for (field, size) in [("mono_mixdown", 4), ("stereo_mixdown", 4), ("matrix_mixdown", 3)] {
        if bits.flag(field)? {
            bits.skip(size, field)?;
        }
    }
    let mut channels = effects;
    for _ in 0..elements {
        channels += if bits.flag("element_is_cpe")? { 2 } else { 1 };
        bits.skip(4, "element_tag_select")?;
    }
    bits.skip(4 * (effects as usize + data) + 5 * coupled, "element_tag_select")?;
    bits.align();
    let comment = bits.byte("comment_field_bytes")?;
    bits.slice(usize::from(comment), "comment_field_data")?;
    if channels == 0 { Err("program_config_element has no channels".to_owned()) } else { Ok(channels) }
}

/// Backward-compatible signalling behind the core's configuration. Decoders read zeros past the end, so an extension
/// that is cut off counts as absent.
fn sync_extension(bits: &mut Bits) -> Extension {
    let mut read = || -> Result<Extension, String> {
        let mut extension = Extension::default();
        if bits.left() < 16 || bits.number(11, "syncExtensionType")? != 0x2b7 || read_object_type(bits)? != SBR {
            return Ok(extension);
        }
        if bits.flag("sbrPresentFlag")? {
            extension.rate = Some(read_rate(bits)?);
            if bits.left() >= 12 && bits.number(11, "syncExtensionType")? == 0x548 {
                extension.stereo = bits.flag("psPresentFlag")?;
            }
        }
        Ok(extension)
    };
    read().unwrap_or_default()
}

const SBR: u32 = 5;
const PS: u32 = 29;

/// Table 1.18, by samplingFrequencyIndex.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// In Hz. What can be written out in 24 bits goes far beyond what any decoder takes.
const RATE_RANGE: std::ops::RangeInclusive<u32> = 4_000..=192_000;
