//! Every rule the checker knows, by name and clause, and the [`Ledger`] that counts how often each was checked and
//! keeps what broke it. Called by every module of the checker; judges nothing itself.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! rules {
    ($($rule:ident = $name:literal, $clause:literal;)*) => {
        /// One rule of the checker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $(#[doc = $clause] $rule,)* }

        impl Rule {
            /// All of them, in the order of the table.
            pub const ALL: &[Rule] = &[$(Rule::$rule),*];

            /// The name that reports print.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$rule => $name),* }
            }

            /// Where the rule is written. `HLS` is RFC 8216bis (draft 16 and later), `BMFF` is ISO/IEC 14496-12,
            /// `CMAF` is ISO/IEC 23000-19, `Design` is a promise of this project beyond them.
            pub fn clause(self) -> &'static str {
                match self { $(Rule::$rule => $clause),* }
            }
        }
    };
}

rules! {
    // The text of one media playlist.
    Syntax = "playlist-syntax", "HLS 4.1, 4.2";
    KnownTags = "known-tags", "HLS 4.4";
    TagOnce = "tag-at-most-once", "HLS 4.4.1.2, 4.4.3, 4.4.5.2";
    TagOrder = "tag-order", "HLS 4.4.3.2, 4.4.3.3, 4.4.4.9";
    SecondParser = "second-parser-agrees", "HLS 4.1";
    Version = "version", "HLS 4.4.1.2, 8";
    TargetDuration = "target-duration", "HLS 4.4.3.1";
    SequencePresent = "media-sequence-present", "HLS 4.4.3.2";
    DiscontinuityPresent = "discontinuity-sequence-present", "HLS 4.4.3.3; Design";
    PartInf = "part-inf", "HLS 4.4.3.7";
    BlockReload = "can-block-reload", "HLS 4.4.3.8, B.1";
    PartHoldBack = "part-hold-back", "HLS 4.4.3.8";
    HoldBack = "hold-back", "HLS 4.4.3.8";
    SkipUntil = "can-skip-until", "HLS 4.4.3.8";
    PartMax = "part-at-most-target", "HLS 4.4.4.9";
    PartMin = "part-at-least-85-percent", "HLS 4.4.4.9";
    PartSum = "parts-make-extinf", "HLS 4.4.4.9, 6.2.1";
    PartsRecent = "parts-for-three-targets", "HLS 6.2.2";
    PartsOld = "no-parts-for-old-segments", "HLS 6.2.2";
    DatePresent = "date-present", "HLS 4.4.4.6, B.1";
    DateSteady = "date-follows-extinf", "HLS 4.4.4.6, 6.2.1";
    DateForward = "date-never-backward", "HLS 6.2.1; Design";
    MapPresent = "map-present", "HLS 3.1.2, 4.4.4.5";
    MapChange = "map-changes-at-discontinuity", "HLS 4.4.4.3, 4.4.4.5";
    Hint = "preload-hint", "HLS 4.4.5.3, B.1";
    EndComplete = "end-is-complete", "HLS 4.4.3.4, 4.4.5.3";
    PlainView = "plain-view", "HLS 4.4; Design";

    // Media playlists over time.
    TargetConstant = "target-duration-constant", "HLS 6.2.1, 6.2.2";
    PartTargetConstant = "part-target-constant", "HLS 4.4.3.7; Design";
    ControlConstant = "server-control-constant", "HLS 4.4.3.8; Design";
    SequenceForward = "media-sequence-forward", "HLS 6.2.2";
    TailForward = "tail-never-shrinks", "HLS 6.2.2";
    SegmentStable = "segment-never-changes", "HLS 6.2.2";
    PartStable = "part-never-changes", "HLS 6.2.2";
    UriOnce = "uri-names-one-thing", "HLS 6.2.2";
    DiscontinuityCount = "discontinuity-sequence-counts", "HLS 4.4.3.3, 6.2.2";
    Window = "window-three-targets", "HLS 6.2.2";
    HintTrue = "hint-comes-true", "HLS 4.4.5.3";
    EndFinal = "end-is-final", "HLS 4.4.3.4, 6.2.1";

    // Delivery directives.
    DeltaAsked = "delta-only-when-asked", "HLS 6.2.5.1";
    DeltaEqual = "delta-equals-full", "HLS 4.4.5.2, 6.2.5.1";
    DeltaBoundary = "delta-skip-boundary", "HLS 4.4.3.8, 6.2.5.1";
    BlockEarly = "blocking-not-early", "HLS 6.2.5.2";
    BlockPrompt = "blocking-prompt", "HLS 6.2.5.2";
    BlockAnswers = "blocking-answers", "HLS 6.2.5.2";
    BlockFar = "far-future-is-400", "HLS 6.2.5.2";
    BlockAlone = "part-without-msn-is-400", "HLS 6.2.5.2";

    // Media files and their delivery.
    Fetchable = "listed-is-fetchable", "HLS 6.2.1, 6.2.2";
    RemovedFetchable = "removed-stays-fetchable", "HLS 6.2.2";
    HintDelivers = "hinted-part-delivers", "HLS 4.4.5.3, 6.2.2";
    SegmentIsParts = "segment-is-its-parts", "HLS 4.4.4.9, CMAF 7.3.2.3";
    Immutable = "bytes-never-change", "Design";
    ContentType = "content-type", "HLS 4, 10";
    ContentLength = "content-length", "RFC 9110 8.6";
    CacheMedia = "media-cached-for-long", "HLS B.1; Design";
    CachePlaylist = "playlist-cached-briefly", "HLS 6.2.5.2, B.1; Design";
    Etag = "etag-follows-content", "RFC 9110 8.8.3";
    NotModified = "not-modified", "RFC 9110 13.1.2, 15.4.5";
    Gzip = "gzip-equals-identity", "HLS B.1";
    Cors = "cors", "Design";

    // Boxes and frames.
    InitBoxes = "init-boxes", "CMAF 7.3.1, HLS 3.1.2";
    InitScale = "init-timescale", "CMAF 7.5.4, BMFF 8.4.2; Design";
    ChunkBoxes = "chunk-boxes", "CMAF 7.3.2.3, BMFF 8.8";
    MoofSequence = "moof-sequence-rises", "BMFF 8.8.5, CMAF 7.5.15";
    MoofBase = "default-base-is-moof", "CMAF 7.5.16, BMFF 8.8.7";
    DataOffset = "data-offset", "BMFF 8.8.8";
    SampleSizes = "samples-fill-mdat", "BMFF 8.8.8, CMAF 7.5.19";
    DecodeTime = "decode-time-continues", "BMFF 8.8.12, CMAF 7.3.2.3";
    PartDuration = "part-duration-is-media", "HLS 4.4.4.9";
    SegmentDuration = "extinf-is-media", "HLS 4.4.4.1, 6.2.1";
    Independent = "independent-is-sync", "HLS 4.4.4.9";
    SyncNal = "sync-flag-is-idr", "BMFF 8.8.3.1, CMAF 7.3.2.3";
    IndependentSegments = "independent-segments", "HLS 4.4.2.1";

    // Renditions among each other.
    ReportPresent = "rendition-report", "HLS 4.4.5.4, B.1";
    ReportTrue = "rendition-report-true", "HLS 4.4.5.4";
    SameTarget = "same-target-duration", "HLS 6.2.4";
    SameDiscontinuity = "same-discontinuities", "HLS 6.2.4";
    Aligned = "boundaries-aligned", "HLS 6.2.4; Design";
    Offset = "sound-starts-with-picture", "Design";

    // The multivariant playlist.
    VariantSyntax = "multivariant-syntax", "HLS 4.1, 4.4.6";
    VariantUris = "multivariant-uris", "HLS 4.4.6.2";
    AudioGroup = "audio-group", "HLS 4.4.6.1, 4.4.6.2";
    Bandwidth = "bandwidth", "HLS 4.4.6.2";
    AverageBandwidth = "average-bandwidth", "HLS 4.4.6.2";
    Codecs = "codecs", "HLS 4.4.6.2, RFC 6381";
    Resolution = "resolution", "HLS 4.4.6.2";
    FrameRate = "frame-rate", "HLS 4.4.6.2";
}

/// One broken rule, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Where the rule is written.
    pub clause: &'static str,
    /// What was seen, and where.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule.name(), self.clause, self.detail)
    }
}

/// Counts checks and keeps violations; at most [`Ledger::KEPT`] of each rule, so that a long bad run stays readable.
#[derive(Debug, Default)]
pub struct Ledger {
    checked: BTreeMap<Rule, u64>,
    broken: BTreeMap<Rule, u64>,
    violations: Vec<Violation>,
}

impl Ledger {
    /// Violations of one rule that are kept with their detail; the others are counted.
    pub const KEPT: u64 = 10;

    /// Notes one check of `rule`. `detail` is only asked when it failed.
    pub fn check(&mut self, rule: Rule, holds: bool, detail: impl FnOnce() -> String) -> bool {
        *self.checked.entry(rule).or_default() += 1;
        if !holds {
            let broken = self.broken.entry(rule).or_default();
            *broken += 1;
            if *broken <= Self::KEPT {
                self.violations.push(Violation { rule, clause: rule.clause(), detail: detail() });
            }
        }
        holds
    }

    /// How often a rule was checked.
    pub fn checked(&self, rule: Rule) -> u64 {
        self.checked.get(&rule).copied().unwrap_or(0)
    }

    /// What was broken so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A table of rule, clause, checks and violations, for logs.
    pub fn table(&self) -> String {
        let mut text = format!("{:<32} {:>7} {:>7}  {}\n", "rule", "checked", "broken", "clause");
        for rule in Rule::ALL {
            let broken = self.broken.get(rule).copied().unwrap_or(0);
            text += &format!("{:<32} {:>7} {broken:>7}  {}\n", rule.name(), self.checked(*rule), rule.clause());
        }
        text
    }
}
