//! What the doctor says: a [`Finding`] in plain words with the setting that mends it, and the [`Code`]s there are.

use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// How bad it is. The order is that of concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Some viewers notice.
    Warning,
    /// All viewers notice, or some see nothing.
    Problem,
}

impl Severity {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// A stream at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing, or nothing but what is good to know.
    Good,
    /// The worst finding is a warning.
    Warning,
    /// There is a problem.
    Problem,
}

impl Health {
    /// By the worst of some findings.
    pub fn of(findings: &[Finding]) -> Health {
        match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Problem) => Health::Problem,
            Some(Severity::Warning) => Health::Warning,
            Some(Severity::Info) | None => Health::Good,
        }
    }
}

/// One thing that is wrong with a stream.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Finding {
    /// Which.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, and what viewers notice of it.
    pub text: String,
    /// What to change.
    pub remedy: String,
    /// Since when it is shown.
    #[serde(rename = "since_ms", serialize_with = "milliseconds")]
    #[schemars(with = "u64")]
    pub since: SystemTime,
    /// The measured value, in the unit that the text has it in.
    pub value: Option<f64>,
}

/// What one look sees, before it is known whether it lasts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) text: String,
    pub(super) remedy: &'static str,
    pub(super) value: Option<f64>,
}

impl Seen {
    pub(super) fn new(code: Code, severity: Severity, text: impl Into<String>, remedy: &'static str) -> Seen {
        Seen { code, severity, text: text.into(), remedy, value: None }
    }

    pub(super) fn value(self, value: f64) -> Seen {
        // Three digits behind the point are all that anybody reads.
        Seen { value: Some((value * 1e3).round() / 1e3), ..self }
    }
}

/// Declares the codes with their names, and collects all of them.
macro_rules! codes {
    ($($variant:ident = $name:literal $about:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $about] $variant,)* }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// As the API, events and metrics name it.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }
        }
    };
}

codes! {
    GopLong = "gop_long" "Key frames come too far apart.";
    GopIrregular = "gop_irregular" "Key frames come at odd times.";
    OnlyKeyFrames = "only_key_frames" "Every picture is a key frame.";
    BFrames = "b_frames" "Pictures come in another order than they are shown.";
    BitrateCliff = "bitrate_cliff" "The bit rate of the picture fell suddenly.";
    BitrateHigh = "bitrate_high" "More bits than the picture needs.";
    BitrateLow = "bitrate_low" "Fewer bits than the picture needs.";
    FramesDropped = "frames_dropped" "Frames are missing at the source.";
    FrameRateVaries = "frame_rate_varies" "Frames come at irregular times.";
    FrameRateLow = "frame_rate_low" "Very few frames a second.";
    NetworkJitter = "network_jitter" "Media comes in bursts.";
    NetworkStall = "network_stall" "Nothing came for a while.";
    NetworkBacklog = "network_backlog" "The link does not carry what is sent.";
    NetworkLoss = "network_loss" "Packets of a WebRTC publisher are lost.";
    SoundOffset = "sound_offset" "Sound comes apart from the picture.";
    SoundDrift = "sound_drift" "Sound runs away from the picture.";
    SoundMissing = "sound_missing" "There is no sound track.";
    SoundGaps = "sound_gaps" "Sound has holes.";
    SoundClips = "sound_clips" "The tops of the sound's waves are cut off.";
    SoundQuiet = "sound_quiet" "The sound is hardly heard.";
    SoundOneSided = "sound_one_sided" "One of two channels is silent.";
    SoundSilent = "sound_silent" "The sound is silence.";
    PictureMissing = "picture_missing" "There is no picture track.";
    MetadataWrong = "metadata_wrong" "The encoder describes another stream than it sends.";
    ProfileUnplayable = "profile_unplayable" "Many devices cannot decode the picture.";
    LevelHigh = "level_high" "Small devices may not decode the picture.";
    CodecRare = "codec_rare" "Not every player knows the codec.";
    SizeOdd = "size_odd" "A picture size that encoders and players treat differently.";
    Interlaced = "interlaced" "The picture is interlaced.";
    ClockJumps = "clock_jumps" "The encoder's clock jumped or ran backwards.";
}

fn milliseconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}
