//! CMAF fMP4: init sections and chunks (ISO/IEC 14496-12, ISO/IEC 23000-19), of one track or of pictures with their
//! sound. The segmenter calls it. Tracks are numbered from 1 in the order they are given. Pure: never decides where a
//! part ends.

mod init;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

use super::Config;

/// One sample of a fragment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// In ticks of the track's timescale.
    pub duration: u32,
    /// Presentation minus decoding time, in ticks; may be negative (trun version 1).
    pub composition_offset: i32,
    /// A decoder can start here.
    pub key: bool,
    /// The access unit.
    pub payload: Bytes,
}

/// Ticks a second of a track: 90000 for pictures, the sample rate for sound.
pub fn timescale(config: &Config) -> u32 {
    match config {
        Config::Video(_) => 90_000,
        Config::Audio(audio) => audio.sample_rate,
    }
}

/// The init section (`ftyp` + `moov`) of these tracks, the leading one first.
pub fn init(tracks: &[&Config]) -> Bytes {
    init::section(tracks)
}

/// What a fragment holds of one track.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Decoding time of the first sample, in ticks of the track's timescale.
    pub decode_time: u64,
    /// In decoding order; a track without samples is left out of the fragment.
    pub samples: &'a [Sample],
}

/// One chunk (`moof` + `mdat`), in one allocation of the exact size; the runs in the order of the init section's tracks.
/// Together the samples stay below 4 GiB, as a stream's byte budget sees to.
///
/// Written by hand and not through a box library: it runs for every part of every stream, and its layout never varies.
pub fn fragment(sequence: u32, runs: &[Run<'_>]) -> Bytes {
    let present = || runs.iter().enumerate().filter(|(_, run)| !run.samples.is_empty());
    let moof = BOX + MFHD + present().map(|(_, run)| run.box_size()).sum::<usize>();
    let mdat = BOX + present().map(|(_, run)| run.payload_size()).sum::<usize>();
    debug_assert!(u32::try_from(moof + mdat).is_ok(), "a part of 4 GiB");

    let mut out = BytesMut::with_capacity(moof + mdat);
    header(&mut out, moof, b"moof");
    header(&mut out, MFHD, b"mfhd");
    out.put_u32(0);
    out.put_u32(sequence);
    let mut data = moof + BOX;
    for (index, run) in present() {
        run.write(&mut out, index as u32 + 1, data);
        data += run.payload_size();
    }
    header(&mut out, mdat, b"mdat");
    for sample in present().flat_map(|(_, run)| run.samples) {
        out.put_slice(&sample.payload);
    }
    debug_assert_eq!(out.len(), moof + mdat);
    out.freeze()
}

impl Run<'_> {
    /// Bytes of its `traf`.
    fn box_size(&self) -> usize {
        BOX + TFHD + TFDT + TRUN + self.samples.len() * RUN_ENTRY
    }

    fn payload_size(&self) -> usize {
        self.samples.iter().map(|sample| sample.payload.len()).sum()
    }

    /// `data`: where its payload begins, in bytes from the start of the `moof`.
    fn write(&self, out: &mut BytesMut, track: u32, data: usize) {
        header(out, self.box_size(), b"traf");
        header(out, TFHD, b"tfhd");
        out.put_u32(DEFAULT_BASE_IS_MOOF);
        out.put_u32(track);
        header(out, TFDT, b"tfdt");
        out.put_u32(VERSION_1);
        out.put_u64(self.decode_time);
        header(out, TRUN + self.samples.len() * RUN_ENTRY, b"trun");
        out.put_u32(VERSION_1 | DATA_OFFSET | EACH_SAMPLE);
        out.put_u32(self.samples.len() as u32);
        out.put_u32(data as u32);
        for sample in self.samples {
            out.put_u32(sample.duration);
            out.put_u32(sample.payload.len() as u32);
            out.put_u32(if sample.key { KEY } else { DELTA });
            out.put_i32(sample.composition_offset);
        }
    }
}

fn header(out: &mut BytesMut, size: usize, kind: &[u8; 4]) {
    out.put_u32(size as u32);
    out.put_slice(kind);
}

// Sizes in bytes, with the box header.
const BOX: usize = 8;
const MFHD: usize = BOX + 8;
const TFHD: usize = BOX + 8;
const TFDT: usize = BOX + 12;
const TRUN: usize = BOX + 12;
/// Duration, size, flags, composition offset.
const RUN_ENTRY: usize = 16;

// Version and flags of full boxes, ISO/IEC 14496-12 sections 8.8.7 and 8.8.8.
const VERSION_1: u32 = 1 << 24;
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
const DATA_OFFSET: u32 = 0x01;
/// Duration, size, flags and composition offset are given for each sample.
const EACH_SAMPLE: u32 = 0x0f00;

// Sample flags, section 8.8.3.1.
/// Depends on no other sample.
const KEY: u32 = 0x0200_0000;
/// Depends on others, and is not a sync sample.
const DELTA: u32 = 0x0101_0000;
