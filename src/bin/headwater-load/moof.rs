//! Reads from fMP4 what `latency` needs: the timescale of an init section, and when each sample of a part is decoded and
//! how long it is. Truncated or hostile boxes end the reading; nothing fails.

/// One sample of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Decoding time in ticks.
    pub(crate) time: u64,
    /// In ticks.
    pub(crate) duration: u32,
    /// In bytes.
    pub(crate) size: u32,
}

/// Ticks a second of the first track of an init section.
pub(crate) fn timescale(init: &[u8]) -> Option<u32> {
    let mdhd = ["moov", "trak", "mdia", "mdhd"].iter().try_fold(init, |inside, name| find(inside, name))?;
    let at = if mdhd.first()? == &1 { 20 } else { 12 };
    number(mdhd, at).filter(|scale| *scale > 0)
}

/// The leading track's samples of all fragments at the beginning of a part, in decoding order.
pub(crate) fn samples(part: &[u8]) -> Vec<Sample> {
    let mut found = Vec::new();
    for (_, moof) in boxes(part).filter(|(name, _)| name == b"moof") {
        if let Some(traf) = find(moof, "traf") {
            fragment(traf, &mut found);
        }
    }
    found
}

/// ISO/IEC 14496-12 sections 8.8.7 (tfhd), 8.8.8 (trun) and 8.8.12 (tfdt).
fn fragment(traf: &[u8], found: &mut Vec<Sample>) {
    let (duration, size) = find(traf, "tfhd").map_or((0, 0), defaults);
    let Some(mut time) = find(traf, "tfdt").and_then(decode_time) else { return };
    for (_, trun) in boxes(traf).filter(|(name, _)| name == b"trun") {
        let (Some(head), Some(count)) = (number(trun, 0), number(trun, 4)) else { return };
        let mut at = 8 + 4 * (head & 0x5).count_ones() as usize;
        let mut field = |present: bool, default: u32| {
            if !present {
                return Some(default);
            }
            at += 4;
            number(trun, at - 4)
        };
        for _ in 0..count.min(MAX_SAMPLES) {
            let fields = (field(head & 0x100 != 0, duration), field(head & 0x200 != 0, size));
            let rest = (field(head & 0x400 != 0, 0), field(head & 0x800 != 0, 0));
            let ((Some(duration), Some(size)), (Some(_), Some(_))) = (fields, rest) else { return };
            found.push(Sample { time, duration, size });
            time = time.saturating_add(u64::from(duration));
        }
    }
}

fn defaults(tfhd: &[u8]) -> (u32, u32) {
    let flags = number(tfhd, 0).unwrap_or(0);
    let mut at = 8 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
    let mut field = |flag: u32| {
        if flags & flag == 0 {
            return 0;
        }
        at += 4;
        number(tfhd, at - 4).unwrap_or(0)
    };
    (field(0x8), field(0x10))
}

fn decode_time(tfdt: &[u8]) -> Option<u64> {
    let low = u64::from(number(tfdt, 4)?);
    if tfdt.first()? == &0 { Some(low) } else { Some((low << 32) | u64::from(number(tfdt, 8)?)) }
}

fn find<'a>(inside: &'a [u8], name: &str) -> Option<&'a [u8]> {
    boxes(inside).find(|(found, _)| found == name.as_bytes()).map(|(_, body)| body)
}

/// Names and bodies of the boxes in `inside`; one that is cut off at the end is given as far as it goes.
fn boxes(inside: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = inside;
    std::iter::from_fn(move || {
        let size = number(rest, 0)? as usize;
        let name = *rest.get(4..)?.first_chunk::<4>()?;
        // 0 means to the end, 1 a 64-bit size: neither occurs in what is looked into here.
        let whole = rest.get(..size.max(8)).unwrap_or(rest);
        rest = &rest[whole.len()..];
        Some((name, &whole[8..]))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// Samples in one run: minutes of sound, far more than a part has.
const MAX_SAMPLES: u32 = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn boxed(name: &str, body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        out.extend(name.as_bytes());
        out.extend(body);
        out
    }

    fn numbers(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_be_bytes()).collect()
    }

    #[test]
    fn a_part_tells_its_samples() {
        let tfhd = boxed("tfhd", &numbers(&[0x02_0018, 1, 3000, 77]));
        let tfdt = boxed("tfdt", &numbers(&[0x0100_0000, 1, 5]));
        // Data offset and first sample flags, then size and composition offset for each.
        let trun = boxed("trun", &numbers(&[0xa05, 2, 100, 0, 500, 0, 60, 1]));
        let sound = boxed("traf", &[tfdt.clone(), boxed("trun", &numbers(&[0x300, 1, 20, 9]))].concat());
        let pictures = boxed("traf", &[tfhd, tfdt, trun].concat());
        let part = boxed("moof", &[pictures, sound].concat());
        let found = samples(&[part, boxed("mdat", b"xxxx")].concat());
        let first = (1 << 32) + 5;
        assert_eq!(
            found,
            [
                Sample { time: first, duration: 3000, size: 500 },
                Sample { time: first + 3000, duration: 3000, size: 60 }
            ]
        );
    }

    #[test]
    fn an_init_tells_its_timescale() {
        for (version, times) in [(0, 2), (1, 4)] {
            let mut body = vec![version << 24];
            body.extend(vec![0; times]);
            body.extend([90_000, 0, 0]);
            let mdia = boxed("mdia", &boxed("mdhd", &numbers(&body)));
            let moov = boxed("moov", &boxed("trak", &mdia));
            assert_eq!(timescale(&[boxed("ftyp", b"cmfc"), moov].concat()), Some(90_000));
        }
        assert_eq!(timescale(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            samples(&bytes);
            timescale(&bytes);
            for name in ["traf", "moof"] {
                bytes = boxed(name, &bytes);
            }
            samples(&bytes);
            let inside: Vec<u8> = [boxed("tfdt", &numbers(&[0, 1])), boxed("trun", &bytes)].concat();
            samples(&boxed("moof", &boxed("traf", &inside)));
        }
    }
}
