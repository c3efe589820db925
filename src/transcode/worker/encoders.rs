//! The H.264 encoders that are known, and how each is set up: constant bit rate, no B-frames, no delay, key frames when asked
//! for and at no other time. A table; nothing runs here.

use crate::transcode::wire::VBV_MILLIS;

/// What an encoder is to make.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Pictures a second that are expected.
    pub(super) nominal: f64,
    /// Bits a second.
    pub(super) bitrate: u64,
    /// H.264 level times ten.
    pub(super) level: u8,
    /// x264's speed preset.
    pub(super) preset: String,
}

/// By preference: hardware first, then what gives the better pictures.
pub(super) const KNOWN: [&str; 8] =
    ["nvh264enc", "vah264enc", "vaapih264enc", "qsvh264enc", "msdkh264enc", "v4l2h264enc", "x264enc", "openh264enc"];

/// Longer than any show's key frame distance: key frames come by request alone.
const NO_KEY_FRAMES: u32 = 100_000;

/// The encoder as a pipeline's text, with what must follow it to give avcC access units. None: not known.
pub(super) fn pipeline(name: &str, job: &Job) -> Option<String> {
    let kilobits = (job.bitrate / 1000).max(1);
    let settings = match name {
        "x264enc" => return Some(x264(job, kilobits)),
        "openh264enc" => format!(
            "bitrate={} max-bitrate={} rate-control=bitrate gop-size={NO_KEY_FRAMES} complexity=low \
             scene-change-detection=false enable-frame-skip=false multi-thread=1",
            job.bitrate, job.bitrate
        ),
        "nvh264enc" => format!(
            "bitrate={kilobits} max-bitrate={kilobits} rc-mode=cbr gop-size=-1 bframes=0 zerolatency=true \
             preset=low-latency-hq"
        ),
        "vah264enc" => format!("bitrate={kilobits} rate-control=cbr key-int-max=1024 b-frames=0"),
        "vaapih264enc" => format!("bitrate={kilobits} rate-control=cbr keyframe-period=0 max-bframes=0"),
        "qsvh264enc" => {
            format!("bitrate={kilobits} rate-control=cbr gop-size={NO_KEY_FRAMES} b-frames=0 low-latency=true")
        }
        "msdkh264enc" => format!("bitrate={kilobits} rate-control=cbr gop-size={NO_KEY_FRAMES} b-frames=0"),
        "v4l2h264enc" => format!(
            "extra-controls=\"controls,video_bitrate={},video_bitrate_mode=1,repeat_sequence_header=0\"",
            job.bitrate
        ),
        #[cfg(test)]
        "broken" => return Some(format!("identity error-after=20 ! {}", x264(job, kilobits))),
        _ => return None,
    };
    let profile = if name == "openh264enc" { "constrained-baseline" } else { "main" };
    Some(format!(
        "{name} name=encoder {settings} ! video/x-h264,profile={profile} ! h264parse \
         ! video/x-h264,stream-format=avc,alignment=au"
    ))
}

fn x264(job: &Job, kilobits: u64) -> String {
    let level = format!("{}.{}", job.level / 10, job.level % 10);
    let threads = threads(u64::from(job.width) * u64::from(job.height), processors());
    format!(
        "x264enc name=encoder speed-preset={preset} tune=zerolatency pass=cbr bitrate={kilobits} \
         vbv-buf-capacity={VBV_MILLIS} bframes=0 key-int-max={NO_KEY_FRAMES} threads={threads} aud=false \
         byte-stream=false option-string=\"scenecut=0:open-gop=0:level={level}\" \
         ! video/x-h264,profile=main,stream-format=avc,alignment=au",
        preset = job.preset,
    )
}

/// Slices cost quality, so there are few: one thread follows where processors are scarce, and on a large machine only a
/// large picture needs more.
fn threads(pixels: u64, processors: usize) -> usize {
    match (processors, pixels) {
        (..=4, _) | (_, ..=921_600) => 1,
        (_, ..=2_200_000) => 2,
        _ => 4,
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_that_is_known_can_be_set_up() {
        let job = Job { width: 640, height: 360, nominal: 30.0, bitrate: 800_000, level: 30, preset: "fast".into() };
        for name in KNOWN {
            let text = pipeline(name, &job).unwrap_or_default();
            assert!(text.starts_with(name), "{name}: {text}");
        }
        assert!(
            pipeline("x264enc", &job).is_some_and(|text| text.contains("level=3.0") && text.contains("bitrate=800 "))
        );
        assert_eq!(pipeline("x265enc", &job), None);
        assert_eq!((threads(2_073_600, 2), threads(2_073_600, 16), threads(230_400, 16)), (1, 2, 1));
    }
}
