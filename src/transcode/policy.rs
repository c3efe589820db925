//! Which rungs a source gets: their sizes, frame rates, bit rates and H.264 levels. The ladder asks once for each epoch of
//! a stream. Pure: no clock, no task, no file; makes nothing itself.

use super::level;
use crate::hub::{Pictures, RungSpec, Sound};
use crate::media::{AudioConfig, Codec, VideoConfig};

/// When rungs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of a stream, while anybody watches it.
    Watched,
    /// Each of them, while somebody watches that rung.
    Rung,
    /// All of a stream, as long as it is live.
    Always,
    /// Never.
    Off,
}

/// What is made of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// When.
    pub mode: Mode,
    /// What is asked for; the source decides how much of it makes sense.
    pub rungs: Vec<Rule>,
}

/// One rung as the operator asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The shorter side of its pictures in pixels: a portrait source stays portrait.
    pub height: u32,
    /// At most so many pictures a second.
    pub frame_rate: Option<f64>,
    /// Of its pictures, in bits a second.
    pub bitrate: u64,
}

/// What a stream's publisher sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// Its pictures; None for a stream of sound alone.
    pub video: Option<&'a VideoConfig>,
    /// Pictures a second as measured; 0 is unknown.
    pub frame_rate: f64,
    /// Its sound; None for pictures alone.
    pub audio: Option<&'a AudioConfig>,
    /// What its publisher sends of the same pictures beside the best of them.
    pub layers: &'a [Layer<'a>],
}

/// A simulcast layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    /// As the publisher names it.
    pub name: &'a str,
    /// Its pictures.
    pub video: &'a VideoConfig,
    /// As measured, in bits a second.
    pub bitrate: u64,
}

/// What a source gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// The best first; a rung of sound alone, `aac`, is the last. Names are unique.
    pub rungs: Vec<RungSpec>,
    /// In place of a source that players cannot switch to: its size, in H.264 with steady segments. None for pictures
    /// that are too small, too large or not there.
    pub stand_in: Option<RungSpec>,
    /// Its sound in Opus, for viewers over WebRTC. None where it is that already, or is not there.
    pub spoken: Option<RungSpec>,
    /// Rungs that a layer is: the name of each, and of its layer.
    pub layered: Vec<(String, String)>,
}

/// Chooses the rungs of a source among the rules. Never larger than the source, and of its size only at a lower frame
/// rate; two rules that come to the same pictures give one rung, the first. `audio_bitrate` (bits a second) is for sound
/// that players on every platform would not take as it is.
pub(super) fn decide(rules: &[Rule], audio_bitrate: u64, source: &Source<'_>) -> Decision {
    let sound = source.audio.map(|audio| sound(audio, audio_bitrate));
    let spoken = source.audio.filter(|audio| audio.codec != Codec::Opus).map(|_| spoken());
    let Some(shape) = source.video.map(|video| Shape::of(video, source.frame_rate)) else {
        return Decision { rungs: sound_alone(sound.as_ref()).into_iter().collect(), spoken, ..Decision::default() };
    };
    let chosen = choose(rules, &shape);
    let shared = |rung: &Chosen| chosen.iter().filter(|other| other.size.short() == rung.size.short()).count() > 1;
    let mut rungs: Vec<RungSpec> = chosen.iter().map(|rung| rung.spec(shared(rung), sound.clone())).collect();
    let layered = take_layers(&mut rungs, source.layers, &shape, sound.as_ref());
    rungs.extend(sound_alone(sound.as_ref()));
    Decision { rungs, stand_in: stand_in(&shape, sound.clone()), spoken, layered }
}

/// Puts the layers that players of HLS take in the place of the rungs of their height, or between them.
fn take_layers(
    rungs: &mut Vec<RungSpec>,
    layers: &[Layer<'_>],
    source: &Shape,
    sound: Option<&Sound>,
) -> Vec<(String, String)> {
    let mut layered: Vec<(String, String)> = Vec::new();
    for Layer { name, video, bitrate } in layers {
        let shape = Shape::of(video, source.frame_rate.unwrap_or(0.0));
        let (short, below) = (shape.size.short(), shape.size.short() < source.size.short());
        let Some(rung) = Chosen::new(&shape, shape.size, None, *bitrate) else { continue };
        let mut spec = rung.named(format!("{short}p"), sound.cloned());
        if video.codec != Codec::H264 || !below || layered.iter().any(|(name, _)| *name == spec.name) {
            continue;
        }
        if let Some(pictures) = &mut spec.pictures {
            pictures.codecs.clone_from(&video.codecs);
        }
        layered.push((spec.name.clone(), (*name).to_owned()));
        rungs.retain(|rung| rung.name != spec.name);
        let smaller = |rung: &RungSpec| rung.pictures.as_ref().is_some_and(|p| p.width.min(p.height) < short);
        let at = rungs.iter().position(smaller).unwrap_or(rungs.len());
        rungs.insert(at, spec);
    }
    layered
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    fn short(self) -> u32 {
        self.width.min(self.height)
    }

    fn long(self) -> u32 {
        self.width.max(self.height)
    }

    /// With its shorter side about this long, both even and none longer than now. Needs a size that is not zero.
    fn with_short(self, short: u32) -> Size {
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(short) / f64::from(self.short());
            let even = (exact / 2.0).round() * 2.0;
            even.min(f64::from(side & !1)) as u32
        };
        Size { width: scaled(self.width), height: scaled(self.height) }
    }
}

/// What of the source matters to pictures.
struct Shape {
    size: Size,
    /// Pictures a second; None where nobody knows.
    frame_rate: Option<f64>,
}

impl Shape {
    fn of(video: &VideoConfig, frame_rate: f64) -> Shape {
        let known = frame_rate.is_finite() && frame_rate > 0.0;
        let size = Size { width: video.width, height: video.height };
        Shape { size, frame_rate: known.then(|| frame_rate.min(MOST_FRAME_RATE)) }
    }

    /// What remains of a rule's frame rate: a source that has no more pictures needs no cap.
    fn cap(&self, rule: &Rule) -> Option<f64> {
        let asked = rule.frame_rate.filter(|cap| (1.0..=MOST_FRAME_RATE).contains(cap))?;
        let matters = self.frame_rate.is_none_or(|rate| asked < rate * WAVERING);
        matters.then_some(asked)
    }
}

/// A rung that makes sense for the source.
struct Chosen {
    size: Size,
    cap: Option<f64>,
    bitrate: u64,
    level: u8,
}

impl Chosen {
    /// None where the size is out of bounds, or where no level of H.264 allows so many pictures of it.
    fn new(shape: &Shape, size: Size, cap: Option<f64>, bitrate: u64) -> Option<Chosen> {
        let frame_rate = cap.or(shape.frame_rate).unwrap_or(USUAL_FRAME_RATE);
        let level = level::least(size.width, size.height, frame_rate, bitrate)?;
        (size.short() >= LEAST_SIDE).then_some(Chosen { size, cap, bitrate, level })
    }

    /// `720p`, or `720p30` beside another rung of that height.
    fn spec(&self, shared: bool, sound: Option<Sound>) -> RungSpec {
        let cap = self.cap.filter(|_| shared).map(|cap| cap.round().to_string()).unwrap_or_default();
        self.named(format!("{}p{cap}", self.size.short()), sound)
    }

    fn named(&self, name: String, sound: Option<Sound>) -> RungSpec {
        let pictures = Pictures {
            width: self.size.width,
            height: self.size.height,
            frame_rate: self.cap,
            bitrate: self.bitrate,
            level: self.level,
            codecs: level::main_profile(self.level),
        };
        RungSpec { name, pictures: Some(pictures), sound }
    }

    /// Whole pictures a second, as names have them; without a cap the most.
    fn rate(&self) -> u32 {
        self.cap.map_or(u32::MAX, |cap| cap.round() as u32)
    }
}

/// The rungs that make sense, the best first.
fn choose(rules: &[Rule], shape: &Shape) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for rung in rules.iter().filter_map(|rule| fit(rule, shape)) {
        // Names tell them apart, and so do viewers, only by these two.
        let same = |other: &Chosen| other.size.short() == rung.size.short() && other.rate() == rung.rate();
        if !chosen.iter().any(same) {
            chosen.push(rung);
        }
    }
    chosen.sort_by_key(|rung| std::cmp::Reverse((rung.size.short(), rung.rate())));
    chosen
}

/// One rule on this source; None where it makes no sense.
fn fit(rule: &Rule, shape: &Shape) -> Option<Chosen> {
    let short = shape.size.short();
    if rule.height > short || rule.height < LEAST_SIDE {
        return None;
    }
    let cap = shape.cap(rule);
    let same_size = f64::from(rule.height) >= f64::from(short) * SAME_SIZE;
    if same_size && (cap.is_none() || shape.frame_rate.is_none()) {
        return None;
    }
    Chosen::new(shape, shape.size.with_short(rule.height), cap, rule.bitrate)
}

fn stand_in(shape: &Shape, sound: Option<Sound>) -> Option<RungSpec> {
    let (short, long) = (shape.size.short(), shape.size.long());
    if short < LEAST_SIDE {
        return None;
    }
    let short =
        if long > LONGEST_SIDE { (u64::from(short) * u64::from(LONGEST_SIDE) / u64::from(long)) as u32 } else { short };
    let size = shape.size.with_short(short);
    let bitrate = steady_bitrate(size, shape.frame_rate.unwrap_or(USUAL_FRAME_RATE));
    let rung = Chosen::new(shape, size, None, bitrate)?;
    Some(rung.named(format!("{}p-steady", size.short()), sound))
}

/// Bits a second that ordinary pictures of a size need to look like their source: between the entries of [`STEADY`] in
/// proportion, half as much again for 60 pictures a second, and no less for slow sources, whose pictures differ more.
fn steady_bitrate(size: Size, frame_rate: f64) -> u64 {
    let pixels = f64::from(size.width) * f64::from(size.height);
    let above = STEADY.iter().position(|(entry, _)| *entry >= pixels).unwrap_or(STEADY.len() - 1).max(1);
    let ((from, low), (to, high)) = (STEADY[above - 1], STEADY[above]);
    let usual = low + (high - low) * (pixels - from) / (to - from);
    let faster = 1.0 + ((frame_rate - 30.0) / 60.0).clamp(0.0, 1.0);
    // Whole 10 kbit/s: 1918 x 1080 need not differ from 1920 x 1080 in the last bit.
    ((usual * faster / 10_000.0).round() as u64 * 10_000).max(LEAST_STEADY)
}

fn sound(audio: &AudioConfig, bitrate: u64) -> Sound {
    let plays = audio.codec == Codec::Aac
        && PLAYED.contains(&audio.codecs.as_str())
        && (1..=2).contains(&audio.channels)
        && SAMPLE_RATES.contains(&audio.sample_rate);
    let codecs = if plays { audio.codecs.clone() } else { "mp4a.40.2".to_owned() };
    Sound { codecs, bitrate: if plays { PASSED_BITRATE } else { bitrate }, transcoded: !plays }
}

/// Sound that was made anew is a rung of its own: for listeners, and beside the source's pictures.
fn sound_alone(sound: Option<&Sound>) -> Option<RungSpec> {
    let sound = sound.filter(|sound| sound.transcoded)?.clone();
    Some(RungSpec { name: "aac".to_owned(), pictures: None, sound: Some(sound) })
}

/// Sound as browsers take it over WebRTC.
fn spoken() -> RungSpec {
    let sound = Sound { codecs: "opus".to_owned(), bitrate: SPOKEN_BITRATE, transcoded: true };
    RungSpec { name: "opus".to_owned(), pictures: None, sound: Some(sound) }
}

/// In bits a second: music in stereo loses nothing that is heard.
const SPOKEN_BITRATE: u64 = 128_000;

/// Pixels of a picture, and bits a second for 30 of them: nothing, 360p, 480p, 720p, 1080p, 2160p.
const STEADY: [(f64, f64); 6] = [
    (0.0, 0.0),
    (640.0 * 360.0, 800e3),
    (854.0 * 480.0, 1_400e3),
    (1_280.0 * 720.0, 3e6),
    (1_920.0 * 1_080.0, 6e6),
    (3_840.0 * 2_160.0, 18e6),
];

/// In bits a second; below it encoders show nothing but blocks at any size.
const LEAST_STEADY: u64 = 100_000;

/// In pixels; encoders in hardware take no less.
const LEAST_SIDE: u32 = 64;

/// In pixels: the widest that encoders and decoders in hardware take.
const LONGEST_SIDE: u32 = 4_096;

/// From this part of the source's height on a rung saves too little to be worth its work.
const SAME_SIZE: f64 = 0.95;

/// Measured rates waver: 30 pictures a second are no reason to cap at 30 what was measured as 30.2.
const WAVERING: f64 = 0.97;

/// Pictures a second; more is a slip in time stamps.
const MOST_FRAME_RATE: f64 = 240.0;

/// Pictures a second where nobody knows.
const USUAL_FRAME_RATE: f64 = 30.0;

/// AAC-LC, and HE-AAC without and with parametric stereo.
const PLAYED: [&str; 3] = ["mp4a.40.2", "mp4a.40.5", "mp4a.40.29"];

/// In hertz; what browsers, phones and television sets play in AAC.
const SAMPLE_RATES: [u32; 3] = [32_000, 44_100, 48_000];

/// In bits a second: assumed of sound that passes as it is, whose rate nobody measured before the first playlist.
/// Broadcasters send 160k by default.
const PASSED_BITRATE: u64 = 160_000;

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
