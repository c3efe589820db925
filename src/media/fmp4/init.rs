//! The init section. Written box by box, because the configuration records must go in exactly as the encoder sent
//! them: a model that parses and re-writes them loses what it does not know (SBR in an AudioSpecificConfig, say).

use bytes::{BufMut, Bytes, BytesMut};

use super::timescale;
use crate::media::{AudioConfig, Codec, Config, VideoConfig};

/// `ftyp` + `moov`.
pub(super) fn section(tracks: &[&Config]) -> Bytes {
    let mut out = BytesMut::with_capacity(1024 * tracks.len());
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6\0\0\0\0iso6");
        if tracks.len() == 1 {
            // CMAF's own brand is for tracks that are alone.
            out.put_slice(b"cmfc");
        }
        if tracks.iter().any(|config| config.codec() == Codec::Av1) {
            out.put_slice(b"av01");
        }
    });
    boxed(&mut out, b"moov", |out| {
        let numbered = || (1..).zip(tracks);
        movie_header(out, tracks.first().map_or(1, |leading| timescale(leading)), tracks.len() as u32 + 1);
        for (id, config) in numbered() {
            boxed(out, b"trak", |out| track(out, id, config));
        }
        boxed(out, b"mvex", |out| {
            for (id, _) in numbered() {
                full_box(out, b"trex", 0, |out| {
                    out.put_u32(id);
                    out.put_u32(1); // default_sample_description_index
                    out.put_slice(&[0; 12]); // duration, size and flags come with each sample
                });
            }
        });
    });
    out.freeze()
}

fn movie_header(out: &mut BytesMut, timescale: u32, next_track: u32) {
    full_box(out, b"mvhd", 0, |out| {
        out.put_slice(&[0; 8]); // creation and modification time
        out.put_u32(timescale);
        out.put_u32(0); // duration: unknown, fragments follow
        out.put_u32(0x0001_0000); // rate 1.0
        out.put_u16(0x0100); // volume 1.0
        out.put_slice(&[0; 10]);
        unity_matrix(out);
        out.put_slice(&[0; 24]);
        out.put_u32(next_track);
    });
}

fn track(out: &mut BytesMut, id: u32, config: &Config) {
    let (width, height, volume) = match config {
        Config::Video(video) => (video.width, video.height, 0),
        Config::Audio(_) => (0, 0, 0x0100),
    };
    full_box(out, b"tkhd", TRACK_ENABLED_IN_MOVIE, |out| {
        out.put_slice(&[0; 8]); // creation and modification time
        out.put_u32(id);
        out.put_slice(&[0; 16]); // reserved, duration, reserved
        out.put_slice(&[0; 4]); // layer, alternate_group
        out.put_u16(volume);
        out.put_u16(0);
        unity_matrix(out);
        out.put_u32(width << 16);
        out.put_u32(height << 16);
    });
    boxed(out, b"mdia", |out| media(out, config));
}

fn media(out: &mut BytesMut, config: &Config) {
    full_box(out, b"mdhd", 0, |out| {
        out.put_slice(&[0; 8]); // creation and modification time
        out.put_u32(timescale(config));
        out.put_u32(0); // duration
        out.put_u16(LANGUAGE_UNDETERMINED);
        out.put_u16(0);
    });
    full_box(out, b"hdlr", 0, |out| {
        let (kind, name): (&[u8; 4], &[u8]) = match config {
            Config::Video(_) => (b"vide", b"video\0"),
            Config::Audio(_) => (b"soun", b"audio\0"),
        };
        out.put_u32(0);
        out.put_slice(kind);
        out.put_slice(&[0; 12]);
        out.put_slice(name);
    });
    boxed(out, b"minf", |out| {
        match config {
            Config::Video(_) => full_box(out, b"vmhd", 1, |out| out.put_slice(&[0; 8])),
            Config::Audio(_) => full_box(out, b"smhd", 0, |out| out.put_slice(&[0; 4])),
        }
        boxed(out, b"dinf", |out| {
            full_box(out, b"dref", 0, |out| {
                out.put_u32(1);
                full_box(out, b"url ", MEDIA_IN_THIS_FILE, |_| {});
            });
        });
        boxed(out, b"stbl", |out| sample_table(out, config));
    });
}

/// The sample description, and tables that are empty because all samples are in fragments.
fn sample_table(out: &mut BytesMut, config: &Config) {
    full_box(out, b"stsd", 0, |out| {
        out.put_u32(1);
        match config {
            Config::Video(video) => picture_entry(out, video),
            Config::Audio(audio) => sound_entry(out, audio),
        }
    });
    full_box(out, b"stts", 0, |out| out.put_u32(0));
    full_box(out, b"stsc", 0, |out| out.put_u32(0));
    full_box(out, b"stsz", 0, |out| out.put_slice(&[0; 8]));
    full_box(out, b"stco", 0, |out| out.put_u32(0));
}

/// VisualSampleEntry, ISO/IEC 14496-12 section 12.1.3.
fn picture_entry(out: &mut BytesMut, video: &VideoConfig) {
    let (entry, record) = match video.codec {
        Codec::H265 => (b"hvc1", b"hvcC"),
        Codec::Av1 => (b"av01", b"av1C"),
        Codec::Vp8 => (b"vp08", b"vpcC"),
        Codec::Vp9 => (b"vp09", b"vpcC"),
        _ => (b"avc1", b"avcC"),
    };
    boxed(out, entry, |out| {
        out.put_slice(&[0; 6]);
        out.put_u16(1); // data_reference_index
        out.put_slice(&[0; 16]);
        out.put_u16(video.width as u16);
        out.put_u16(video.height as u16);
        out.put_u32(0x0048_0000); // 72 dpi
        out.put_u32(0x0048_0000);
        out.put_u32(0);
        out.put_u16(1); // frame_count
        out.put_slice(&[0; 32]); // compressorname
        out.put_u16(0x0018); // depth
        out.put_i16(-1);
        boxed(out, record, |out| out.put_slice(&video.record));
    });
}

/// AudioSampleEntry, ISO/IEC 14496-12 section 12.2.3.
fn sound_entry(out: &mut BytesMut, audio: &AudioConfig) {
    let entry = if audio.codec == Codec::Opus { b"Opus" } else { b"mp4a" };
    boxed(out, entry, |out| {
        out.put_slice(&[0; 6]);
        out.put_u16(1); // data_reference_index
        out.put_slice(&[0; 8]);
        out.put_u16(audio.channels as u16);
        out.put_u16(16); // samplesize
        out.put_u32(0);
        // 16.16 has no room for 88.2 kHz and above; 0 sends readers to the decoder configuration.
        out.put_u16(u16::try_from(audio.sample_rate).unwrap_or(0));
        out.put_u16(0);
        if audio.codec == Codec::Opus {
            boxed(out, b"dOps", |out| out.put_slice(&audio.record));
        } else {
            full_box(out, b"esds", 0, |out| elementary_stream(out, &audio.record));
        }
    });
}

/// ES_Descriptor, ISO/IEC 14496-1 section 7.2.6.5, around an AudioSpecificConfig.
fn elementary_stream(out: &mut BytesMut, record: &[u8]) {
    let decoder = 13 + DESCRIPTOR + record.len();
    descriptor(out, 0x03, 3 + DESCRIPTOR + decoder + DESCRIPTOR + 1);
    out.put_u16(0); // ES_ID, by the track id in a file
    out.put_u8(0);
    descriptor(out, 0x04, decoder);
    out.put_u8(0x40); // MPEG-4 audio
    out.put_u8(0x15); // audio stream
    out.put_slice(&[0; 11]); // bufferSizeDB, maxBitrate, avgBitrate: unknown
    descriptor(out, 0x05, record.len());
    out.put_slice(record);
    descriptor(out, 0x06, 1);
    out.put_u8(2); // SLConfigDescriptor: as in MP4 files
}

/// Tag and length of a descriptor; the length in the expandable form of four bytes, 7 bits each.
fn descriptor(out: &mut BytesMut, tag: u8, length: usize) {
    out.put_u8(tag);
    for shift in [21, 14, 7] {
        out.put_u8(0x80 | (length >> shift & 0x7f) as u8);
    }
    out.put_u8((length & 0x7f) as u8);
}

fn unity_matrix(out: &mut BytesMut) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.put_u32(value);
    }
}

fn full_box(out: &mut BytesMut, kind: &[u8; 4], flags: u32, body: impl FnOnce(&mut BytesMut)) {
    boxed(out, kind, |out| {
        out.put_u32(flags);
        body(out);
    });
}

/// Writes a box around what `body` writes, and then its size.
fn boxed(out: &mut BytesMut, kind: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    body(out);
    let size = (out.len() - start) as u32;
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
}

/// Bytes of a descriptor's tag and length.
const DESCRIPTOR: usize = 5;
/// track_enabled and track_in_movie.
const TRACK_ENABLED_IN_MOVIE: u32 = 3;
/// The data reference points at the file itself.
const MEDIA_IN_THIS_FILE: u32 = 1;
/// `und` in three packed letters of five bits.
const LANGUAGE_UNDETERMINED: u16 = 0x55c4;
