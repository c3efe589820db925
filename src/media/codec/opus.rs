//! The Opus identification header (RFC 7845 section 5.1) to an [`AudioConfig`] with the body of a `dOps` box, the
//! length of a packet, and a packet of silence.

use bytes::{BufMut, BytesMut};

use crate::media::{AudioConfig, Codec};

/// Reads an `OpusHead` packet (little-endian), with or without its magic.
pub(super) fn config(head: &[u8]) -> Result<AudioConfig, String> {
    let head = head.strip_prefix(b"OpusHead").unwrap_or(head);
    let (&[version, channels, skip_low, skip_high, r0, r1, r2, r3, gain_low, gain_high, family], table) =
        head.split_first_chunk::<11>().ok_or("cut off before the channel mapping")?;
    if version >> 4 != 0 {
        return Err(format!("version is {version}, not 1"));
    }
    let table = match (family, channels) {
        (0, 1..=2) => &[],
        (1, 1..=8) => mapping_table(table, channels)?,
        _ => return Err(format!("{channels} channels in channel mapping family {family}")),
    };
    let mut record = BytesMut::with_capacity(11 + table.len());
    // dOps has a version number of its own, which is 0.
    record.put_slice(&[0, channels]);
    record.put_u16(u16::from_le_bytes([skip_low, skip_high]));
    record.put_u32(u32::from_le_bytes([r0, r1, r2, r3]));
    record.put_slice(&[gain_high, gain_low, family]);
    record.put_slice(table);
    Ok(AudioConfig {
        codec: Codec::Opus,
        record: record.freeze(),
        sample_rate: RATE,
        channels: u32::from(channels),
        frame_samples: None,
        codecs: "opus".to_owned(),
    })
}

/// Samples at 48 kHz in one packet, from its TOC byte (RFC 6716 section 3.1), at most the 120 ms that a packet may
/// have. 0 for an empty or malformed packet.
pub(super) fn packet_samples(packet: &[u8]) -> u32 {
    let Some(&toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40 or 60 ms.
        mode @ 0..12 => [480, 960, 1920, 2880][usize::from(mode & 3)],
        // Hybrid: 10 or 20 ms.
        mode @ 12..16 => 480 << (mode & 1),
        // CELT: 2.5, 5, 10 or 20 ms.
        mode => 120 << (mode & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        3 => packet.get(1).map_or(0, |count| u32::from(count & 0x3f)),
        _ => 2,
    };
    (frame * frames).min(MAX_PACKET)
}

/// A packet of 20 ms of silence for one stream of one or two channels: a CELT frame that carries nothing.
pub(super) fn silence(config: &AudioConfig) -> Option<&'static [u8]> {
    match (config.record.get(FAMILY_AT), config.channels) {
        (Some(0), 1) => Some(&[0xf8, 0xff, 0xfe]),
        (Some(0), 2) => Some(&[0xfc, 0xff, 0xfe]),
        _ => None,
    }
}

/// Stream count, coupled count and one index a channel (RFC 7845 section 5.1.1).
fn mapping_table(table: &[u8], channels: u8) -> Result<&[u8], String> {
    let table = table.get(..2 + usize::from(channels)).ok_or("cut off in the channel mapping table")?;
    let (&[streams, coupled], indices) =
        table.split_first_chunk::<2>().ok_or("cut off in the channel mapping table")?;
    let decoded = u16::from(streams) + u16::from(coupled);
    if streams == 0 || coupled > streams || decoded > 255 {
        return Err(format!("{streams} streams, {coupled} of them coupled"));
    }
    match indices.iter().find(|&&index| index != 255 && u16::from(index) >= decoded) {
        Some(index) => Err(format!("channel mapping to stream {index} of {decoded}")),
        None => Ok(table),
    }
}

/// Opus always decodes at this rate.
const RATE: u32 = 48_000;
/// 120 ms at 48 kHz.
const MAX_PACKET: u32 = 5_760;
/// Where dOps keeps ChannelMappingFamily.
const FAMILY_AT: usize = 10;
