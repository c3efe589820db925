//! Init sections, parts and segments: boxes, samples and their times, held against what the playlists say. Segments are
//! judged in order of their numbers, whatever the order they came in.

use std::time::Duration;

use super::boxes::{Chunk, Init, is_idr};
use super::playlist::{MILLI, Nanos, SECOND};
use super::rules::{Ledger, Rule};
use super::{Checker, Observation, Rendition, Resource};

/// What one segment holds.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Path of the init section it was read with.
    pub map: String,
    pub timescale: u32,
    /// Decoding time of its first sample and of what follows it, in ticks.
    pub start: u64,
    pub end: u64,
    /// Presentation time of its earliest sample, in ticks.
    pub shown: i64,
    pub first_sequence: u32,
    pub last_sequence: u32,
    pub samples: usize,
    pub bytes: usize,
    /// Longest sample, in ticks.
    pub longest: u32,
    /// The sound that goes with it, in ticks of its own: timescale, start and end.
    pub sound: Option<(u32, u64, u64)>,
}

impl Measured {
    /// Length in nanoseconds.
    pub fn duration(&self) -> Nanos {
        nanos(self.end - self.start, self.timescale)
    }
}

/// The place up to which a rendition's segments were judged one after the other.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    next: Option<u64>,
    before: Option<Measured>,
}

impl Checker {
    pub(super) fn observe_init(&mut self, r: usize, seen: &Observation) {
        if !self.fetched(seen, true) || self.renditions[r].inits.contains_key(seen.path()) {
            return;
        }
        let at = seen.label();
        let init = match Init::parse(&seen.body) {
            Ok(init) => init,
            Err(fault) => {
                self.ledger.check(Rule::InitBoxes, false, || format!("{at}: {fault}"));
                return;
            }
        };
        let cmaf = init.brands.iter().any(|b| b == "cmfc" || b == "cmf2");
        // CMAF's brand is for a track that is alone.
        self.ledger.check(Rule::InitBoxes, cmaf == init.sound.is_none() && init.samples == 0, || {
            format!("{at}: brands {:?}, {} samples in its table", init.brands, init.samples)
        });
        for track in std::iter::once(&init).chain(init.sound.as_deref()) {
            let wanted = if track.handler == "soun" { track.sample_rate } else { 90_000 };
            self.ledger.check(Rule::InitScale, track.timescale == wanted, || {
                format!("{at}: timescale {} of {} at {} Hz", track.timescale, track.entry, track.sample_rate)
            });
        }
        self.renditions[r].inits.insert(seen.path().to_owned(), init);
    }

    pub(super) fn observe_part(&mut self, r: usize, msn: u64, index: usize, seen: &Observation) {
        let Some(facts) = self.renditions[r].facts.get(&msn).filter(|_| seen.status != 304) else { return };
        let gone = facts.removed.or(facts.stripped);
        let Some((listing, listed)) = facts.parts.get(index).cloned() else { return };
        if seen.asked < listed {
            let in_time = listed + self.part_target(r) + Duration::from_millis(100);
            self.ledger.check(Rule::HintDelivers, seen.status == 200 && seen.at <= in_time, || {
                format!("{} hinted, answered {} at {:?}, listed at {listed:?}", seen.url, seen.status, seen.at)
            });
            if seen.status != 200 {
                return;
            }
        } else if !self.fetched(seen, gone.is_none_or(|gone| seen.at < gone)) {
            return;
        }
        let at = format!("{} part {msn}.{index}", self.renditions[r].label());
        let Some((_, init)) = self.init_of(r, msn) else { return };
        let init = init.clone();
        let chunks = match Chunk::parse(&seen.body, &init) {
            Ok(chunks) if !chunks.is_empty() => chunks,
            other => {
                self.ledger.check(Rule::ChunkBoxes, false, || format!("{at}: {other:?}"));
                return;
            }
        };
        let length = nanos(chunks.iter().map(Chunk::duration).sum(), init.timescale);
        self.ledger.check(Rule::PartDuration, (length - listing.duration).abs() <= MILLI, || {
            format!("{at}: lasts {length} ns, its DURATION is {} ns", listing.duration)
        });
        let sync = chunks[0].samples.first().is_some_and(|s| s.sync);
        self.ledger.check(Rule::Independent, sync == listing.independent, || {
            format!("{at}: INDEPENDENT={}, first sample sync: {sync}", listing.independent)
        });
        if let Some(facts) = self.renditions[r].facts.get_mut(&msn) {
            facts.part_bytes.insert(index, seen.body.clone());
        }
        self.join_parts(r, msn);
    }

    pub(super) fn observe_segment(&mut self, r: usize, msn: u64, seen: &Observation) {
        let Some(facts) = self.renditions[r].facts.get(&msn).filter(|f| !f.listing.gap) else { return };
        match facts.removed.filter(|removed| *removed <= seen.asked) {
            None => {
                if !self.fetched(seen, true) {
                    return;
                }
            }
            Some(removed) => {
                let length = facts.listing.duration + self.renditions[r].longest;
                let until = removed + Duration::from_nanos(length.unsigned_abs());
                if seen.at <= until {
                    self.ledger.check(Rule::RemovedFetchable, seen.status == 200, || {
                        let times = format!("asked at {:?}, removed at {removed:?}, due until {until:?}", seen.asked);
                        format!("{} answered {}, {times}", seen.url, seen.status)
                    });
                }
                return;
            }
        }
        let at = format!("{} segment {msn}", self.renditions[r].label());
        let Some((map, init)) = self.init_of(r, msn) else { return };
        let (map, init) = (map.to_owned(), init.clone());
        let measured = measure(&mut self.ledger, &at, &map, &init, &seen.body);
        let Some(facts) = self.renditions[r].facts.get_mut(&msn) else { return };
        facts.bytes = Some(seen.body.len());
        facts.segment_bytes = Some(seen.body.clone());
        let Some((measured, sync)) = measured else { return };
        let off = (measured.duration() - facts.listing.duration).abs();
        self.ledger.check(Rule::SegmentDuration, off <= MILLI, || {
            format!("{at}: lasts {} ns, its EXTINF is {} ns", measured.duration(), facts.listing.duration)
        });
        if facts.independent {
            self.ledger.check(Rule::IndependentSegments, sync, || {
                format!("{at}: starts with no sync sample under EXT-X-INDEPENDENT-SEGMENTS")
            });
        }
        facts.measured = Some(measured);
        self.join_parts(r, msn);
        self.advance(r, false);
        self.judge_offset(msn);
    }

    /// Judges what the segments that nobody fetched kept from being judged.
    pub(super) fn finish_fragments(&mut self) {
        for r in 0..self.renditions.len() {
            self.advance(r, true);
        }
    }

    /// Whether there is a body to judge; an answer other than 200 to what is `listed` is a violation.
    fn fetched(&mut self, seen: &Observation, listed: bool) -> bool {
        if seen.status == 304 {
            return false;
        }
        if listed {
            self.ledger.check(Rule::Fetchable, seen.status == 200, || {
                format!("{} is listed and answered {}", seen.url, seen.status)
            });
        }
        seen.status == 200
    }

    fn part_target(&self, r: usize) -> Duration {
        Duration::from_nanos(self.renditions[r].part_target.unsigned_abs())
    }

    fn init_of(&self, r: usize, msn: u64) -> Option<(&str, &Init)> {
        let map = self.renditions[r].facts.get(&msn)?.listing.map.as_deref()?;
        Some((map, self.renditions[r].inits.get(map)?))
    }

    /// Holds a segment against its parts, once all of them are there.
    fn join_parts(&mut self, r: usize, msn: u64) {
        let label = self.renditions[r].label().to_owned();
        let Some(facts) = self.renditions[r].facts.get_mut(&msn) else { return };
        let complete = facts.complete && facts.part_bytes.len() == facts.parts.len() && !facts.parts.is_empty();
        let (true, Some(segment)) = (complete, facts.segment_bytes.take()) else { return };
        let joined: Vec<u8> = facts.part_bytes.values().flat_map(|b| b.iter().copied()).collect();
        facts.part_bytes.clear();
        self.ledger.check(Rule::SegmentIsParts, joined == segment, || {
            format!("{label} segment {msn}: {} bytes, its parts have {}", segment.len(), joined.len())
        });
    }

    /// Judges segments one after the other as far as they are there; at the end, over gaps too.
    fn advance(&mut self, r: usize, over_gaps: bool) {
        let ledger = &mut self.ledger;
        let Rendition { facts, cursor, path, .. } = &mut self.renditions[r];
        let mut next = cursor.next.or_else(|| facts.keys().next().copied());
        while let Some(msn) = next {
            let Some(fact) = facts.get(&msn) else { break };
            match (&fact.measured, over_gaps) {
                (Some(now), _) => {
                    if let Some(before) = &cursor.before {
                        continues(ledger, &format!("{path} segment {msn}"), before, now, fact.listing.discontinuity);
                    }
                    cursor.before = Some(now.clone());
                }
                (None, true) => cursor.before = None,
                (None, false) => break,
            }
            next = facts.range(msn + 1..).next().map_or(Some(msn + 1), |(m, _)| Some(*m));
        }
        cursor.next = next;
    }

    /// Sound and picture of one segment start together: of two renditions to a frame of sound, within one to a part.
    fn judge_offset(&mut self, msn: u64) {
        for r in 0..self.renditions.len() {
            let part = self.renditions[r].part_target;
            let measured = self.renditions[r].facts.get(&msn).and_then(|facts| facts.measured.as_ref());
            let Some((picture, (scale, start, _))) = measured.and_then(|m| Some((m, m.sound?))) else { continue };
            let off = nanos(start, scale)
                - (i128::from(picture.shown) * SECOND as i128 / i128::from(picture.timescale)) as Nanos;
            self.ledger.check(Rule::Offset, off.abs() <= part, || {
                format!("segment {msn}: its sound starts {} us after its picture", off / 1000)
            });
        }
        let find = |handler: &str| {
            self.renditions.iter().find_map(|r| {
                let measured = r.facts.get(&msn)?.measured.as_ref()?;
                (r.inits.get(&measured.map)?.handler == handler).then_some(measured)
            })
        };
        let (Some(picture), Some(sound)) = (find("vide"), find("soun")) else { return };
        let seconds = |m: &Measured| m.shown as f64 / f64::from(m.timescale);
        let frame = f64::from(sound.longest) / f64::from(sound.timescale) + 0.001;
        let off = seconds(sound) - seconds(picture);
        self.ledger.check(Rule::Offset, off.abs() <= frame, || {
            format!("segment {msn}: sound starts {:.1} ms after the picture", off * 1000.0)
        });
    }
}

fn continues(ledger: &mut Ledger, at: &str, before: &Measured, now: &Measured, discontinuity: bool) {
    if before.map == now.map {
        ledger.check(Rule::MoofSequence, now.first_sequence > before.last_sequence, || {
            format!("{at}: moof {} after {}", now.first_sequence, before.last_sequence)
        });
    }
    let end = nanos(before.end, before.timescale);
    let start = nanos(now.start, now.timescale);
    let holds = if discontinuity {
        start + MILLI >= end
    } else if before.timescale == now.timescale {
        before.end == now.start
    } else {
        (start - end).abs() <= MILLI
    };
    ledger.check(Rule::DecodeTime, holds, || {
        format!("{at}: starts at {} of {}, the one before ends at {}", now.start, now.timescale, before.end)
    });
    if let (Some((scale_before, _, end)), Some((scale, start, _))) = (before.sound, now.sound) {
        let off = nanos(start, scale) - nanos(end, scale_before);
        let holds = if discontinuity { off >= -MILLI } else { off == 0 };
        ledger.check(Rule::DecodeTime, holds, || format!("{at}: its sound starts {off} ns after the end of the last"));
    }
}

/// Judges the boxes of one segment. None where they cannot be read; else what it holds and whether it starts with a
/// sync sample.
fn measure(ledger: &mut Ledger, at: &str, map: &str, init: &Init, body: &[u8]) -> Option<(Measured, bool)> {
    let chunks = match Chunk::parse(body, init) {
        Ok(chunks) => chunks,
        Err(fault) => {
            ledger.check(Rule::ChunkBoxes, false, || format!("{at}: {fault}"));
            return None;
        }
    };
    let sound = |c: &Chunk| c.sound.as_ref().map(|s| s.track) == init.sound.as_ref().map(|s| s.track);
    let accompanied = |c: &Chunk| sound(c) || c.sound.is_none();
    let whole = chunks.iter().all(|c| !c.samples.is_empty() && c.track == init.track && accompanied(c));
    ledger.check(Rule::ChunkBoxes, whole && !chunks.is_empty(), || {
        format!("{at}: {} chunks, one without samples or of another track than {}", chunks.len(), init.track)
    });
    for (i, chunk) in chunks.iter().enumerate() {
        judge_chunk(ledger, &format!("{at} chunk {i}"), init, chunk, body);
    }
    for pair in chunks.windows(2) {
        ledger.check(Rule::MoofSequence, pair[1].sequence > pair[0].sequence, || {
            format!("{at}: moof {} after {}", pair[1].sequence, pair[0].sequence)
        });
        let end = pair[0].decode_time + pair[0].duration();
        ledger.check(Rule::DecodeTime, pair[1].decode_time == end, || {
            format!("{at}: a chunk starts at {}, the one before ends at {end}", pair[1].decode_time)
        });
    }
    let sounds: Vec<&Chunk> = chunks.iter().filter_map(|c| c.sound.as_deref()).collect();
    for pair in sounds.windows(2) {
        let end = pair[0].decode_time + pair[0].duration();
        ledger.check(Rule::DecodeTime, pair[1].decode_time == end, || {
            format!("{at}: the sound of a chunk starts at {}, the one before ends at {end}", pair[1].decode_time)
        });
    }
    let (first, last) = (chunks.first()?, chunks.last()?);
    let mut time = first.decode_time;
    let mut shown = i64::MAX;
    for sample in chunks.iter().flat_map(|c| &c.samples) {
        shown = shown.min(time as i64 + i64::from(sample.composition));
        time += u64::from(sample.duration);
    }
    let measured = Measured {
        map: map.to_owned(),
        timescale: init.timescale.max(1),
        start: first.decode_time,
        end: last.decode_time + last.duration(),
        shown,
        first_sequence: first.sequence,
        last_sequence: last.sequence,
        samples: chunks.iter().map(|c| c.samples.len()).sum(),
        bytes: body.len(),
        longest: chunks.iter().flat_map(|c| &c.samples).map(|s| s.duration).max().unwrap_or(0),
        sound: sounds.first().zip(sounds.last()).map(|(first, last)| {
            let scale = init.sound.as_ref().map_or(1, |sound| sound.timescale.max(1));
            (scale, first.decode_time, last.decode_time + last.duration())
        }),
    };
    Some((measured, first.samples.first().is_some_and(|s| s.sync)))
}

fn judge_chunk(ledger: &mut Ledger, at: &str, init: &Init, chunk: &Chunk, body: &[u8]) {
    ledger.check(Rule::MoofBase, chunk.base_is_moof && !chunk.odd_base, || {
        format!("{at}: default-base-is-moof {}, other base {}", chunk.base_is_moof, chunk.odd_base)
    });
    ledger.check(Rule::DataOffset, chunk.data == chunk.mdat.0, || {
        format!("{at}: data_offset leads to {}, mdat's bytes begin at {}", chunk.data, chunk.mdat.0)
    });
    let own: usize = chunk.samples.iter().map(|s| s.size).sum();
    if let Some(sound) = &chunk.sound {
        ledger.check(Rule::MoofBase, sound.base_is_moof && !sound.odd_base, || {
            format!("{at}: sound: default-base-is-moof {}, other base {}", sound.base_is_moof, sound.odd_base)
        });
        ledger.check(Rule::DataOffset, sound.data == chunk.mdat.0 + own, || {
            format!("{at}: the sound's data_offset leads to {}, the pictures end at {}", sound.data, chunk.mdat.0 + own)
        });
        let all_sync = sound.samples.iter().all(|s| s.sync);
        ledger.check(Rule::SyncNal, all_sync, || format!("{at}: sound that is no sync sample"));
    }
    let total = chunk.bytes();
    ledger.check(Rule::SampleSizes, total == chunk.mdat.1, || {
        format!("{at}: samples have {total} bytes, mdat has {}", chunk.mdat.1)
    });
    if init.handler != "vide" || chunk.data != chunk.mdat.0 {
        let all_sync = chunk.samples.iter().all(|s| s.sync);
        ledger
            .check(Rule::SyncNal, all_sync || init.handler == "vide", || format!("{at}: sound that is no sync sample"));
        return;
    }
    for (i, sample) in chunk.samples.iter().enumerate() {
        let unit = body.get(sample.start..sample.start + sample.size).unwrap_or_default();
        let idr = is_idr(&init.entry, init.nal_length, unit);
        ledger.check(Rule::SyncNal, idr == Ok(sample.sync), || {
            format!("{at} sample {i}: marked sync {}, its bytes say {idr:?}", sample.sync)
        });
    }
}

fn nanos(ticks: u64, timescale: u32) -> Nanos {
    (i128::from(ticks) * i128::from(SECOND) / i128::from(timescale.max(1))) as Nanos
}

impl Checker {
    /// Segments of one rendition that were listed, and how many of them were fetched and measured.
    pub fn coverage(&self) -> Vec<(String, usize, usize)> {
        let count = |r: &Rendition| r.facts.values().filter(|f| f.complete && !f.listing.gap).count();
        let measured = |r: &Rendition| r.facts.values().filter(|f| f.measured.is_some()).count();
        self.renditions.iter().map(|r| (r.path.clone(), count(r), measured(r))).collect()
    }

    /// True if a path was named by a playlist.
    pub fn knows(&self, path: &str) -> bool {
        self.resources.get(path).is_some_and(|r| !matches!(r, Resource::Hinted(_)))
    }
}
