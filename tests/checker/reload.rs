//! Media playlists over time: what may change from one to the next, delivery directives, delta playlists, hints that
//! must come true, and reports about the other renditions.

use std::time::Duration;

use super::playlist::{Control, MILLI, Media, Nanos, Tip};
use super::rules::Rule;
use super::text::{judge_header, judge_segments, judge_text, shown};
use super::{Checker, Facts, Observation, Rendition, Resource, delivery, resolved};

/// Header values that a stream chooses once.
#[derive(Clone, Debug, PartialEq)]
pub struct Constants {
    target: Option<Nanos>,
    part_target: Option<Nanos>,
    control: Option<Control>,
}

/// One playlist, kept for a while to be held against others of the same state.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was asked for and when it came.
    asked: Duration,
    at: Duration,
    media: Media,
    text: String,
    etag: Option<String>,
    plain: bool,
    delta: bool,
    gzip: bool,
}

impl Seen {
    /// Same state of the same view: the newest part, the oldest segment, ended or not.
    fn same_state(&self, other: &Seen) -> bool {
        let of = |s: &Seen| (s.media.tip(), s.media.sequence, s.media.ended, s.plain);
        of(self) == of(other)
    }

    /// The text without rendition reports: those follow the other renditions, which move on their own.
    fn without_reports(&self) -> String {
        self.text.lines().filter(|l| !l.starts_with("#EXT-X-RENDITION-REPORT")).collect::<Vec<_>>().join("\n")
    }
}

/// Playlists and answer times that are kept for comparison.
const KEPT: usize = 64;

/// What a test of promptness grants to the machine under test: 2 busy cores run encoder, server and checker.
const SLACK: Duration = Duration::from_millis(100);

impl Checker {
    pub(super) fn observe_playlist(&mut self, r: usize, seen: &Observation) {
        if self.refused(r, seen) {
            return;
        }
        let Some(text) = delivery::text(seen) else {
            self.ledger.check(Rule::Gzip, false, || format!("{}: the body cannot be unpacked", seen.url));
            return;
        };
        let at = format!("{} at {:.1} s", seen.label(), seen.at.as_secs_f64());
        let raw = Media::parse(&text);
        judge_text(&mut self.ledger, &at, &text, &raw);
        let wants_delta = seen.query("_HLS_skip").is_some();
        let delta = raw.skipped.is_some();
        self.ledger.check(Rule::DeltaAsked, wants_delta || !delta, || format!("{at}: EXT-X-SKIP, unasked"));
        let plain = seen.query("ll") == Some("0");
        let Some(media) = self.completed(r, &at, resolved(seen.path(), raw)) else { return };
        judge_segments(&mut self.ledger, &at, &media);
        let entry = Seen {
            asked: seen.asked,
            at: seen.at,
            media: media.clone(),
            text,
            etag: seen.header("etag").map(str::to_owned),
            plain,
            delta,
            gzip: seen.header("content-encoding") == Some("gzip"),
        };
        self.compare(r, &at, entry);
        if plain {
            self.judge_plain(r, &at, &media);
        } else {
            judge_header(&mut self.ledger, &at, &media);
            self.judge_constants(r, &at, &media);
            self.judge_blocking(r, &at, seen, &media);
            self.judge_tail(r, &at, seen, &media);
        }
        self.merge(r, &at, seen, &media, plain);
        if !plain {
            self.judge_hints(r, &at, &media);
            self.judge_reports(r, &at, seen, &media);
        }
        self.judge_renditions(r, &at, &media);
    }

    /// Judges an answer that is no playlist; true if it was none.
    fn refused(&mut self, r: usize, seen: &Observation) -> bool {
        let msn: Option<u64> = seen.query("_HLS_msn").and_then(|n| n.parse().ok());
        let part = seen.query("_HLS_part");
        let tip = self.renditions[r].tip_at(seen.asked);
        let url = || format!("{} answered {}", seen.url, seen.status);
        if msn.is_none() && part.is_some() {
            self.ledger.check(Rule::BlockAlone, seen.status == 400, url);
            return true;
        }
        // The tip may have moved by a segment or two since it was seen, so only what is far out counts. A playlist that has
        // ended is given whatever is asked for, and it may have ended on the request's way.
        let ended = seen.status == 200 && delivery::text(seen).is_some_and(|text| text.contains("#EXT-X-ENDLIST"));
        if let (Some(msn), Some(tip), false) = (msn, tip, ended)
            && msn > tip.msn + 100
        {
            self.ledger.check(Rule::BlockFar, seen.status == 400, url);
            return true;
        }
        if seen.status == 200 {
            return false;
        }
        if seen.status == 304 {
            return true;
        }
        if msn.is_some() {
            let excused = seen.status == 503 && seen.header("retry-after").is_some();
            let held = Duration::from_nanos(self.renditions[r].target.unsigned_abs() * 3);
            let patient = seen.at.saturating_sub(seen.asked) >= held;
            self.ledger.check(Rule::BlockAnswers, excused && patient, || {
                format!("{} answered {} after {:?}", seen.url, seen.status, seen.at.saturating_sub(seen.asked))
            });
        } else {
            self.ledger.check(Rule::Fetchable, false, url);
        }
        true
    }

    /// Fills what EXT-X-SKIP left out. None where a skipped segment was never seen.
    fn completed(&mut self, r: usize, at: &str, mut media: Media) -> Option<Media> {
        let Some(skipped) = media.skipped else { return Some(media) };
        let known = &self.renditions[r].facts;
        let first = media.sequence.unwrap_or(0);
        let mut segments = Vec::new();
        for msn in first..first + skipped.min(100_000) {
            let mut segment = known.get(&msn).filter(|f| f.complete)?.listing.clone();
            segment.parts.clear();
            segments.push(segment);
        }
        let mut map = segments.last().and_then(|s| s.map.clone());
        for segment in media.segments.iter_mut().chain([&mut media.open]) {
            if segment.map.is_none() {
                segment.map.clone_from(&map);
            }
            map.clone_from(&segment.map);
        }
        segments.append(&mut media.segments);
        media.segments = segments;
        let boundary = media.control.as_ref().and_then(|c| c.skip_until);
        let mut behind = media.length();
        for segment in media.segments.iter().take(skipped as usize) {
            self.ledger.check(Rule::DeltaBoundary, boundary.is_some_and(|b| behind > b), || {
                format!("{at}: {} begins {} before the end and is skipped", segment.msn, shown(Some(behind)))
            });
            behind -= segment.duration;
        }
        Some(media)
    }

    /// Holds a playlist against others of the same state: full and delta, plain and gzip, entity tags.
    fn compare(&mut self, r: usize, at: &str, entry: Seen) {
        for other in &self.renditions[r].seen {
            if !other.same_state(&entry) {
                let differs = other.etag.is_none() || other.etag != entry.etag;
                self.ledger.check(Rule::Etag, differs, || format!("{at}: the ETag of another state came again"));
                continue;
            }
            if other.delta != entry.delta {
                let (full, delta) = if entry.delta { (other, &entry) } else { (&entry, other) };
                let problem = delta_difference(&full.media, &delta.media);
                self.ledger.check(Rule::DeltaEqual, problem.is_none(), || {
                    format!("{at}: the delta playlist and the full one differ: {}", problem.unwrap_or_default())
                });
            } else if other.gzip != entry.gzip {
                self.ledger.check(Rule::Gzip, other.without_reports() == entry.without_reports(), || {
                    format!("{at}: gzip and identity differ")
                });
            } else {
                let tags = other.etag == entry.etag;
                let texts = other.text == entry.text;
                self.ledger.check(Rule::Etag, tags == texts, || {
                    format!("{at}: same ETag: {tags}, same text: {texts} ({:?}, {:?})", other.etag, entry.etag)
                });
            }
        }
        // Answers that were on the way at once may come in any order, so only what was asked for later counts.
        let before = |s: &&Seen| s.media.ended && s.plain == entry.plain && s.at <= entry.asked;
        if let Some(after) = self.renditions[r].seen.iter().find(before) {
            let same = after.delta != entry.delta || after.text == entry.text;
            self.ledger.check(Rule::EndFinal, entry.media.ended && same, || format!("{at}: it changed after ENDLIST"));
        }
        let seen = &mut self.renditions[r].seen;
        // The first ended playlist stays, whatever its age.
        if seen.len() == KEPT {
            let old = seen.iter().position(|s| !s.media.ended).unwrap_or(1);
            seen.remove(old);
        }
        seen.push_back(entry);
    }

    fn judge_plain(&mut self, r: usize, at: &str, media: &Media) {
        self.ledger.check(Rule::PlainView, !media.has_low_latency_tags(), || {
            format!("{at}: the ordinary view has low-latency tags")
        });
        let newest = self.renditions[r].facts.iter().rev().find(|(_, f)| f.complete).map(|(msn, _)| *msn);
        let last = media.segments.last().map(|s| s.msn);
        self.ledger.check(Rule::PlainView, last >= newest.map(|n| n.saturating_sub(1)), || {
            format!("{at}: the ordinary view ends at {last:?}, {newest:?} is out")
        });
    }

    fn judge_constants(&mut self, r: usize, at: &str, media: &Media) {
        let now = Constants { target: media.target, part_target: media.part_target, control: media.control.clone() };
        let rendition = &mut self.renditions[r];
        rendition.target = media.target.unwrap_or(0);
        rendition.part_target = media.part_target.unwrap_or(0);
        let first = rendition.constants.get_or_insert_with(|| now.clone()).clone();
        let changed = |what: &str| format!("{at}: {what} changed from {first:?} to {now:?}");
        self.ledger.check(Rule::TargetConstant, first.target == now.target, || changed("TARGETDURATION"));
        self.ledger.check(Rule::PartTargetConstant, first.part_target == now.part_target, || changed("PART-TARGET"));
        self.ledger.check(Rule::ControlConstant, first.control == now.control, || changed("EXT-X-SERVER-CONTROL"));
    }

    fn judge_blocking(&mut self, r: usize, at: &str, seen: &Observation, media: &Media) {
        let Some(msn) = seen.query("_HLS_msn").and_then(|n| n.parse::<u64>().ok()) else { return };
        let part = seen.query("_HLS_part").and_then(|n| n.parse::<u64>().ok());
        let has = media.has(msn, part) || media.ended;
        self.ledger.check(Rule::BlockEarly, has, || format!("{at}: answered without what was asked for"));
        self.ledger.check(Rule::BlockAnswers, true, String::new);
        // Later parts than the one asked for, in an answer that was held for it, mean that it was held too long.
        let rendition = &self.renditions[r];
        let wanted = Tip { msn, parts: part.map_or(0, |p| p + 1) };
        let held = rendition.tip_at(seen.asked).is_some_and(|tip| tip < wanted);
        let part_target = Duration::from_nanos(rendition.part_target.unsigned_abs());
        let first = first_seen(rendition, msn, part.unwrap_or(0)).map(|t| t.max(seen.asked));
        if let (Some(first), true, Some(_)) = (first, held, part) {
            self.ledger.check(Rule::BlockPrompt, seen.at.saturating_sub(first) <= part_target + SLACK, || {
                format!("{at}: answered {:?} after the part was seen elsewhere", seen.at.saturating_sub(first))
            });
        } else if let (true, Some(part)) = (held && !media.ended, part) {
            let later = media.tip().msn == msn && media.tip().parts > part + 2;
            self.ledger.check(Rule::BlockPrompt, !later, || {
                format!("{at}: held until {} parts later", media.tip().parts - part - 1)
            });
        }
    }

    fn judge_tail(&mut self, r: usize, at: &str, seen: &Observation, media: &Media) {
        let tip = media.tip();
        let sequence = media.sequence.unwrap_or(0);
        let rendition = &mut self.renditions[r];
        let before = rendition.tip_at(seen.asked);
        let first_before = rendition.tips.iter().filter(|(t, ..)| *t <= seen.asked).map(|(.., first)| *first).max();
        self.ledger.check(Rule::TailForward, before.is_none_or(|b| tip >= b), || {
            format!("{at}: ends at {tip:?} after {before:?} had been given")
        });
        self.ledger.check(Rule::SequenceForward, first_before.is_none_or(|f| sequence >= f), || {
            format!("{at}: EXT-X-MEDIA-SEQUENCE {sequence} after {first_before:?}")
        });
        let removed = rendition.facts.keys().next().is_some_and(|first| *first < sequence);
        let (length, target) = (media.length(), media.target.unwrap_or(0));
        self.ledger.check(Rule::Window, !removed || length >= 3 * target, || {
            format!("{at}: segments were removed and {} are left", shown(Some(length)))
        });
        if rendition.tips.len() == KEPT {
            rendition.tips.pop_front();
        }
        rendition.tips.push_back((seen.at, tip, sequence));
        rendition.longest = rendition.longest.max(length);
        if media.ended {
            rendition.ended.get_or_insert(seen.at);
        }
        for (claimed, (msn, part)) in &rendition.claims {
            // A playlist that fell back is one fault, not two.
            if *claimed <= seen.asked && before.is_none_or(|b| tip >= b) {
                let holds = media.ended || media.has(*msn, Some(*part));
                self.ledger.check(Rule::ReportTrue, holds, || {
                    format!("{at}: a report promised {msn}.{part} earlier, this ends at {tip:?}")
                });
            }
        }
        rendition.claims.retain(|(claimed, _)| *claimed > seen.asked);
    }

    /// Remembers every segment and part, and holds them against what was said of them before.
    fn merge(&mut self, r: usize, at: &str, seen: &Observation, media: &Media, plain: bool) {
        let mut count = media.discontinuities.unwrap_or(0);
        for segment in media.segments.iter().chain([&media.open]) {
            count += u64::from(segment.discontinuity);
            let complete = !segment.uri.is_empty();
            if !complete && segment.parts.is_empty() {
                continue;
            }
            let rendition = &mut self.renditions[r];
            let fresh = !rendition.facts.contains_key(&segment.msn);
            let facts = rendition.facts.entry(segment.msn).or_insert_with(|| Facts {
                listing: segment.clone(),
                discontinuity: count,
                ..Facts::default()
            });
            if complete && !facts.complete {
                facts.complete = true;
                facts.listing.uri.clone_from(&segment.uri);
                facts.listing.duration = segment.duration;
            }
            facts.independent |= media.independent;
            let was = &facts.listing;
            let stable = (was.discontinuity, &was.map, was.gap) == (segment.discontinuity, &segment.map, segment.gap)
                && (was.date.is_none() || segment.date.is_none() || was.date == segment.date)
                && (!complete || (&was.uri, was.duration) == (&segment.uri, segment.duration));
            if !fresh {
                self.ledger.check(Rule::SegmentStable, stable, || {
                    format!("{at}: {} was {was:?} and is {segment:?}", segment.msn)
                });
                self.ledger.check(Rule::DiscontinuityCount, facts.discontinuity == count, || {
                    format!("{at}: {} has discontinuity number {count}, had {}", segment.msn, facts.discontinuity)
                });
            }
            if complete {
                self.name(&segment.uri, Resource::Segment(r, segment.msn), at);
            }
            if let Some(map) = &segment.map {
                self.name(map, Resource::Init(r), at);
            }
            if !plain {
                self.merge_parts(r, at, seen, segment);
            }
        }
        let first = media.sequence.unwrap_or(0);
        for (_, facts) in self.renditions[r].facts.range_mut(..first) {
            facts.removed.get_or_insert(seen.at);
        }
    }

    fn merge_parts(&mut self, r: usize, at: &str, seen: &Observation, segment: &super::Segment) {
        for (i, part) in segment.parts.iter().enumerate() {
            let Some(facts) = self.renditions[r].facts.get_mut(&segment.msn) else { return };
            match facts.parts.get(i) {
                Some((was, _)) => {
                    let stable = was == part;
                    self.ledger.check(Rule::PartStable, stable, || {
                        format!("{at}: part {}.{i} was {was:?} and is {part:?}", segment.msn)
                    });
                }
                None => facts.parts.push((part.clone(), seen.at)),
            }
            self.name(&part.uri, Resource::Part(r, segment.msn, i), at);
        }
        let Some(facts) = self.renditions[r].facts.get_mut(&segment.msn) else { return };
        if segment.parts.is_empty() && !facts.parts.is_empty() {
            facts.stripped.get_or_insert(seen.at);
        }
    }

    /// Notes what a path is; a path never becomes something else.
    fn name(&mut self, path: &str, resource: Resource, at: &str) {
        let was = self.resources.insert(path.to_owned(), resource);
        let same = was.is_none_or(|was| was == resource || matches!(was, Resource::Hinted(_)));
        self.ledger.check(Rule::UriOnce, same, || format!("{at}: {path} was {was:?} and is {resource:?}"));
    }

    fn judge_hints(&mut self, r: usize, at: &str, media: &Media) {
        let rendition = &mut self.renditions[r];
        let hints = std::mem::take(&mut rendition.hints);
        for (tip, path) in hints {
            // The next part is either of the segment that was open, or the first of the one after it.
            let open = rendition.facts.get(&tip.msn);
            let next = match open {
                Some(facts) if facts.parts.len() as u64 > tip.parts => {
                    facts.parts.get(tip.parts as usize).map(|p| (p, facts))
                }
                Some(facts) if facts.complete => {
                    let mut later = rendition.facts.range(tip.msn + 1..).map(|(_, facts)| facts);
                    later.find(|f| !f.listing.gap).and_then(|facts| facts.parts.first().map(|p| (p, facts)))
                }
                _ => None,
            };
            match next {
                None => {
                    rendition.hints.insert(tip, path);
                }
                Some(((part, _), facts)) => {
                    // When the publisher goes away, nobody can know which part will come next.
                    let broken = facts.listing.discontinuity && facts.parts.first().is_some_and(|p| p.0 == *part);
                    self.ledger.check(Rule::HintTrue, broken || part.uri == path, || {
                        format!("{at}: after {tip:?} {path} was hinted and {} came", part.uri)
                    });
                }
            }
        }
        if let Some(hint) = media.hints.iter().find(|h| h.kind == "PART") {
            rendition.hints.insert(media.tip(), hint.uri.clone());
            self.resources.entry(hint.uri.clone()).or_insert(Resource::Hinted(r));
        }
    }

    fn judge_reports(&mut self, r: usize, at: &str, seen: &Observation, media: &Media) {
        for other in 0..self.renditions.len() {
            let path = &self.renditions[other].path;
            if other == r || self.renditions[other].tips.is_empty() || media.ended {
                continue;
            }
            let report = media.reports.iter().find(|report| report.uri == *path);
            self.ledger.check(Rule::ReportPresent, report.is_some(), || format!("{at}: no report of {path}"));
            let Some(report) = report else { continue };
            // A server may leave out what equals the values of the playlist itself.
            let own = self.renditions[r].last_part(media.tip()).unwrap_or((0, 0));
            let said = (report.msn.unwrap_or(own.0), report.part.unwrap_or(own.1));
            let known = &self.renditions[other];
            let newest = known.tip_at(seen.asked).and_then(|tip| known.last_part(tip));
            let behind = newest.map_or(0, |newest| parts_between(known, said, newest));
            self.ledger.check(Rule::ReportTrue, behind <= 1, || {
                format!("{at}: reports {path} at {said:?}, {behind} parts behind {newest:?}")
            });
            self.renditions[other].claims.push((seen.at, said));
        }
    }

    /// The same segment in all renditions has the same place and the same discontinuities.
    fn judge_renditions(&mut self, r: usize, at: &str, media: &Media) {
        for other in 0..self.renditions.len() {
            if other == r || self.renditions[other].tips.is_empty() {
                continue;
            }
            let (ours, theirs) = (&self.renditions[r], &self.renditions[other]);
            let target = |r: &Rendition| r.constants.as_ref().and_then(|c| c.target);
            self.ledger.check(Rule::SameTarget, target(ours) == target(theirs), || {
                format!("{at}: TARGETDURATION differs from {}", theirs.label())
            });
            for segment in media.segments.iter().rev().take(4) {
                let (Some(a), Some(b)) = (ours.facts.get(&segment.msn), theirs.facts.get(&segment.msn)) else {
                    continue;
                };
                self.ledger.check(Rule::SameDiscontinuity, a.discontinuity == b.discontinuity, || {
                    let numbers = (a.discontinuity, b.discontinuity);
                    format!(
                        "{at}: {} has discontinuity numbers {numbers:?} here and in {}",
                        segment.msn,
                        theirs.label()
                    )
                });
                if let (Some(ours), Some(other)) = (a.listing.date, b.listing.date) {
                    let off = (ours - other).abs();
                    self.ledger.check(Rule::Aligned, off <= AUDIO_FRAME, || {
                        format!("{at}: {} starts {} us apart from {}", segment.msn, off / 1000, theirs.label())
                    });
                }
            }
        }
    }
}

/// The longest AAC frame of the usual rates (1,024 samples at 22.05 kHz, or 2,048 with SBR at 44.1), and the
/// millisecond that dates are rounded to.
const AUDIO_FRAME: Nanos = 47 * MILLI + MILLI;

fn first_seen(rendition: &Rendition, msn: u64, part: u64) -> Option<Duration> {
    rendition.facts.get(&msn)?.parts.get(part as usize).map(|(_, at)| *at)
}

/// How many parts `said` is behind `newest`.
fn parts_between(rendition: &Rendition, said: (u64, u64), newest: (u64, u64)) -> u64 {
    if said >= newest {
        return 0;
    }
    if said.0 == newest.0 {
        return newest.1 - said.1;
    }
    let rest = rendition.facts.get(&said.0).map_or(0, |f| (f.parts.len() as u64).saturating_sub(said.1 + 1));
    let between: u64 =
        (said.0 + 1..newest.0).filter_map(|m| rendition.facts.get(&m)).map(|f| f.parts.len() as u64).sum();
    rest + between + newest.1 + 1
}

/// What differs between a full playlist and a completed delta playlist of the same state.
fn delta_difference(full: &Media, delta: &Media) -> Option<String> {
    let skipped = delta.skipped.unwrap_or(0) as usize;
    if full.segments.len() != delta.segments.len() {
        return Some(format!("{} segments, {} with the skipped ones", full.segments.len(), delta.segments.len()));
    }
    for (i, (a, b)) in full.segments.iter().zip(&delta.segments).enumerate() {
        let mut a = a.clone();
        if i < skipped {
            a.parts.clear();
        }
        if a != *b {
            return Some(format!("{a:?} and {b:?}"));
        }
    }
    let header = |m: &Media| (m.target, m.part_target, m.control.clone(), m.sequence, m.discontinuities, m.independent);
    if header(full) != header(delta) {
        return Some("the header".to_owned());
    }
    ((&full.open, &full.hints) != (&delta.open, &delta.hints)).then(|| "the open segment or the hint".to_owned())
}
