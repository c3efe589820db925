//! What the codec configuration says: profiles, levels, codecs, sizes and interlacing that players do not take, and what the
//! encoder declares of itself against what comes.

use super::finding::{Code, Seen, Severity};
use crate::hub::Declared;
use crate::media::{Codec, VideoConfig, codec};

/// What there is to see in a configuration.
pub(super) fn look(video: &VideoConfig, out: &mut Vec<Seen>) {
    match video.codec {
        Codec::H264 => h264(video, out),
        Codec::H265 => h265(video, out),
        Codec::Av1 => {
            let text = "AV1 alone comes: older phones, televisions and iPhones before the 15 Pro do not play it";
            out.push(Seen::new(Code::CodecRare, Severity::Info, text, TAKE_H264));
        }
        Codec::Vp8 | Codec::Vp9 => {
            let text = "VP8 and VP9 play over WebRTC alone: for all others the pictures are made anew";
            out.push(Seen::new(Code::CodecRare, Severity::Info, text, TAKE_H264));
        }
        Codec::Aac | Codec::Opus => {}
    }
    if !video.width.is_multiple_of(2) || !video.height.is_multiple_of(2) {
        let text = format!(
            "the picture has {} x {} pixels: odd sizes lose a line or show a green edge",
            video.width, video.height
        );
        out.push(Seen::new(Code::SizeOdd, Severity::Warning, text, EVEN));
    }
}

fn h264(video: &VideoConfig, out: &mut Vec<Seen>) {
    let number = |range| video.codecs.get(range).and_then(|hex| u8::from_str_radix(hex, 16).ok());
    let unplayable = match number(5..7) {
        Some(PROFILE_HIGH_10) => Some("High 10 (10 bit)"),
        Some(PROFILE_HIGH_422) => Some("High 4:2:2"),
        Some(PROFILE_HIGH_444) => Some("High 4:4:4"),
        _ => None,
    };
    if let Some(profile) = unplayable {
        let text = format!("the picture is H.264 {profile}: browsers on phones and televisions show nothing of it");
        out.push(Seen::new(Code::ProfileUnplayable, Severity::Problem, text, PLAIN_COLOUR));
    }
    let level = number(9..11).unwrap_or(0);
    if level > LEVEL_PHONES {
        let name = f64::from(level) / 10.0;
        let (severity, what) = if level > LEVEL_MOST {
            (Severity::Warning, "most decoders in phones and televisions refuse it")
        } else {
            (Severity::Info, "older phones refuse it")
        };
        let text = format!("the picture is of level {name:.1}: {what}");
        out.push(Seen::new(Code::LevelHigh, severity, text, LOWER_LEVEL).value(name));
    }
    if codec::is_interlaced(video) {
        let text = "the picture is interlaced: browsers show combs where it moves";
        out.push(Seen::new(Code::Interlaced, Severity::Warning, text, DEINTERLACE));
    }
}

fn h265(video: &VideoConfig, out: &mut Vec<Seen>) {
    let profile =
        video.codecs.split('.').nth(1).unwrap_or_default().trim_start_matches(|c: char| c.is_ascii_alphabetic());
    match profile {
        "1" | "2" => {
            let text = "HEVC alone comes: Firefox and many computers do not play it";
            out.push(Seen::new(Code::CodecRare, Severity::Warning, text, TAKE_H264));
        }
        _ => {
            let text = "the picture is HEVC of a range extension (4:2:2 or 4:4:4): browsers show nothing of it";
            out.push(Seen::new(Code::ProfileUnplayable, Severity::Problem, text, PLAIN_COLOUR));
        }
    }
}

/// What was declared against what comes. `rate`: pictures a second, `bitrate`: bits a second of pictures; None where not known.
pub(super) fn declared(
    declared: &Declared,
    video: &VideoConfig,
    (rate, bitrate): (Option<f64>, Option<f64>),
    out: &mut Vec<Seen>,
) {
    let mut wrong = Vec::new();
    if let (Some(width), Some(height)) = (declared.width, declared.height)
        && (width, height) != (f64::from(video.width), f64::from(video.height))
    {
        wrong.push(format!("{width} x {height} instead of {} x {}", video.width, video.height));
    }
    if let (Some(said), Some(rate)) = (declared.frame_rate, rate)
        && (said - rate).abs() > rate * RATE_OFF
    {
        wrong.push(format!("{said:.1} frames a second instead of {rate:.1}"));
    }
    if let (Some(said), Some(bitrate)) = (declared.video_bitrate, bitrate)
        && bitrate > said * BITRATE_OFF
    {
        wrong.push(format!("{:.0} kbit/s instead of {:.0}", said / 1e3, bitrate / 1e3));
    }
    if !wrong.is_empty() {
        let text = format!("the encoder describes another stream than it sends: {}", wrong.join(", "));
        out.push(Seen::new(Code::MetadataWrong, Severity::Warning, text, DESCRIBE));
    }
}

/// profile_idc of ITU-T H.264 annex A.
const PROFILE_HIGH_10: u8 = 110;
const PROFILE_HIGH_422: u8 = 122;
const PROFILE_HIGH_444: u8 = 244;
/// What phones of the last ten years decode, and what decoders end at: 1080p60, and 4K30.
const LEVEL_PHONES: u8 = 42;
const LEVEL_MOST: u8 = 51;
/// Share that a declared frame rate may be off: 29.97 is often called 30.
const RATE_OFF: f64 = 0.1;
/// A declared bit rate is a mean; encoders send peaks of twice that.
const BITRATE_OFF: f64 = 2.0;

const TAKE_H264: &str = "OBS: Settings > Output > Streaming > Video Encoder: x264, or a hardware encoder with H.264 in its name. ffmpeg: -c:v libx264";
const PLAIN_COLOUR: &str = "OBS: Settings > Advanced > Video > Color Format: NV12 (8-bit, 4:2:0, 2 planes); Settings > Output > Streaming > Profile: high. ffmpeg: -pix_fmt yuv420p -profile:v high";
const LOWER_LEVEL: &str = "OBS: Settings > Video > Output (Scaled) Resolution: 1920x1080, Common FPS Values: 60 or less. ffmpeg: -s 1920x1080 -level:v 4.2";
const DEINTERLACE: &str = "OBS: right click on the source > Deinterlacing > Yadif 2x, or choose a progressive mode in the capture device's properties. ffmpeg: -vf yadif, without -flags +ildct+ilme";
const EVEN: &str = "OBS: Settings > Video > Output (Scaled) Resolution: 1920x1080, 1280x720 or another with even numbers. ffmpeg: -vf \"scale=trunc(iw/2)*2:trunc(ih/2)*2\"";
const DESCRIBE: &str = "Restart the encoder after changing its size or frame rate. OBS: stop and start streaming. ffmpeg: leave -metadata out, and with -c copy check the file with ffprobe";
