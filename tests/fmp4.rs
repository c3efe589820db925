//! Our init sections and fragments against ffmpeg: media that ffmpeg encoded goes through `media::codec` and
//! `media::fmp4`, and must come out with the same packets, times and decoded frames, without a word of warning.
//! Needs `ffmpeg` and `ffprobe` with x264, x265, SVT-AV1, AAC and Opus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::{Bytes, BytesMut};
use headwater::media::codec::{self, BadConfig};
use headwater::media::fmp4::{self, Run, Sample};
use headwater::media::{AudioConfig, Config};

#[test]
fn h264_without_b_frames() {
    pictures("h264", "640x360", &["-c:v", "libx264", "-tune", "zerolatency", "-g", "25"], "avc1.64001e");
}

#[test]
fn h264_with_b_frames_and_cropping() {
    pictures("h264", "426x238", &["-c:v", "libx264", "-bf", "3", "-g", "25"], "avc1.640015");
}

#[test]
fn h264_by_way_of_flv() {
    let options = ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "baseline", "-g", "25", "-f", "flv"];
    pictures("h264", "320x180", &options, "avc1.42c00c");
}

#[test]
fn hevc() {
    let params = "log-level=none:open-gop=0:keyint=25:min-keyint=25:scenecut=0";
    let options = ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", params];
    pictures("hevc", "640x360", &options, "hvc1.1.6.L63.90");
}

#[test]
fn av1() {
    pictures("av1", "640x360", &["-c:v", "libsvtav1", "-preset", "12", "-g", "25"], "av01.0.01M.08");
}

#[test]
fn aac() {
    for (rate, channels) in [(44_100, 1), (44_100, 2), (48_000, 1), (48_000, 2)] {
        let config = sound("aac", rate, channels, &["-c:a", "aac"]);
        assert_eq!(config.frame_samples, Some(1024));
        assert_eq!(config.codecs, "mp4a.40.2");
    }
}

#[test]
fn opus() {
    for channels in [1, 2] {
        let config = sound("opus", 48_000, channels, &["-c:a", "libopus", "-application", "lowdelay"]);
        assert_eq!(config.codecs, "opus");
    }
}

#[test]
fn silence_decodes_to_zeros() {
    let configs = [
        codec::aac(&Bytes::from_static(&[0x12, 0x08])),
        codec::aac(&Bytes::from_static(&[0x12, 0x10])),
        codec::aac(&Bytes::from_static(&[0x11, 0x88])),
        codec::aac(&Bytes::from_static(&[0x11, 0x90])),
        codec::opus(&Bytes::from_static(&[1, 1, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0])),
        codec::opus(&Bytes::from_static(&[1, 2, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0])),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (at, config) in configs.into_iter().enumerate() {
        let config = config.unwrap();
        let payload = codec::silence(&config).unwrap();
        let duration = codec::packet_samples(&config, &payload);
        let sample = Sample { duration, composition_offset: 0, key: true, payload };
        let file = folder.path().join(format!("{at}.mp4"));
        let chunk = fmp4::fragment(1, &[Run { decode_time: 0, samples: &vec![sample; 50] }]);
        std::fs::write(&file, [fmp4::init(&[&config]), chunk].concat()).unwrap();

        let pcm = run("ffmpeg", &["-v", "warning", "-i", text(&file), "-f", "s16le", "-"]);
        let channels = if let Config::Audio(audio) = &config { audio.channels } else { 0 };
        assert_eq!(pcm.len() as u32, 50 * duration * channels * 2, "{config:?}");
        assert!(pcm.iter().all(|&byte| byte == 0), "{config:?}");
    }
}

/// Two seconds of pictures at 25 frames a second through our boxes and back.
fn pictures(name: &str, size: &str, options: &[&str], codecs: &str) {
    let source = format!("testsrc2=s={size}:r=25:d=2.04");
    let media = Media::encode(&source, &[&["-pix_fmt", "yuv420p"], options].concat());
    assert_eq!(media.config.codecs(), codecs);
    assert_eq!(media.packets.len(), 51);
    for packet in &media.packets {
        assert_eq!(codec::is_random_access(&media.config, &packet.payload), packet.key, "at {}", packet.pts);
    }
    assert!(media.packets.iter().filter(|packet| packet.key).count() >= 3);

    let file = media.rewrite(5);
    let found = probe(&file, "stream=codec_name,width,height,nb_read_frames");
    assert_eq!(found, format!("{name},{},51", size.replace('x', ",")));
    media.compare(&file);
}

/// Two seconds of a tone through our boxes and back.
fn sound(name: &str, rate: u32, channels: u32, options: &[&str]) -> AudioConfig {
    let source = format!("sine=f=440:r={rate}:d=2");
    let media = Media::encode(&source, &[&["-ac", &channels.to_string()], options].concat());
    let Config::Audio(config) = media.config.clone() else { panic!("not a sound track") };
    assert_eq!((config.sample_rate, config.channels), (rate, channels));
    // The container may cut the last packet short.
    for packet in media.packets.iter().rev().skip(1) {
        assert_eq!(codec::packet_samples(&media.config, &packet.payload), packet.duration);
    }
    let file = media.rewrite(10);
    assert_eq!(probe(&file, "stream=codec_name,sample_rate,channels"), format!("{name},{rate},{channels}"));
    media.compare(&file);
    config
}

struct Packet {
    pts: i64,
    dts: i64,
    duration: u32,
    key: bool,
    payload: Bytes,
}

/// What ffmpeg encoded, read by ffprobe.
struct Media {
    folder: tempfile::TempDir,
    original: PathBuf,
    config: Config,
    packets: Vec<Packet>,
}

impl Media {
    /// Options that end in `-f flv` take the packets through that container.
    fn encode(source: &str, options: &[&str]) -> Media {
        let folder = tempfile::tempdir().unwrap();
        let (original, flv) = (folder.path().join("original.mp4"), folder.path().join("original.flv"));
        let input = ["-v", "error", "-f", "lavfi", "-i", source];
        let into_mp4 = ["-video_track_timescale", "90000", text(&original)];
        if options.ends_with(&["-f", "flv"]) {
            run("ffmpeg", &[&input, options, &[text(&flv)]].concat());
            run("ffmpeg", &[&["-v", "error", "-i", text(&flv), "-c", "copy"], &into_mp4[..]].concat());
        } else {
            run("ffmpeg", &[&input, options, &into_mp4].concat());
        }
        let bytes = std::fs::read(&original).unwrap();
        let config = config(&bytes).unwrap();
        let packets = packets(&original, &bytes);
        Media { folder, original, config, packets }
    }

    /// Our init section and fragments of `count` samples each.
    fn rewrite(&self, count: usize) -> PathBuf {
        let mut out = BytesMut::from(fmp4::init(&[&self.config]).as_ref());
        for (sequence, part) in self.packets.chunks(count).enumerate() {
            let samples: Vec<Sample> = part
                .iter()
                .map(|packet| Sample {
                    duration: packet.duration,
                    composition_offset: i32::try_from(packet.pts - packet.dts).unwrap(),
                    key: packet.key,
                    payload: packet.payload.clone(),
                })
                .collect();
            let decode_time = u64::try_from(part[0].dts + OFFSET).unwrap();
            out.extend_from_slice(&fmp4::fragment(sequence as u32 + 1, &[Run { decode_time, samples: &samples }]));
        }
        let file = self.folder.path().join("ours.mp4");
        std::fs::write(&file, out).unwrap();
        file
    }

    /// Packets, their times and the decoded frames of `file` are those of the original.
    fn compare(&self, file: &Path) {
        let ours = packets(file, &std::fs::read(file).unwrap());
        assert_eq!(ours.len(), self.packets.len());
        for (ours, original) in ours.iter().zip(&self.packets) {
            assert_eq!((ours.pts - OFFSET, ours.dts - OFFSET), (original.pts, original.dts));
            assert_eq!((ours.key, &ours.payload), (original.key, &original.payload));
        }
        assert_eq!(decoded(file), decoded(&self.original));
    }
}

/// The configuration of the one track in an MP4 file, by way of the record in its sample entry.
fn config(file: &[u8]) -> Result<Config, BadConfig> {
    let record = |kind: &[u8; 4]| {
        let at = file.windows(4).position(|window| window == kind)?;
        let size = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
        Some(Bytes::copy_from_slice(&file[at + 4..at - 4 + size]))
    };
    if let Some(record) = record(b"avcC") {
        return codec::h264(&record);
    }
    if let Some(record) = record(b"hvcC") {
        return codec::h265(&record);
    }
    if let Some(record) = record(b"av1C") {
        return codec::av1(&record);
    }
    if let Some(record) = record(b"dOps") {
        let mut head = [b"OpusHead", record.as_ref()].concat();
        head[8] = 1;
        head[10..12].reverse();
        head[12..16].reverse();
        head[16..18].reverse();
        return codec::opus(&head.into());
    }
    let esds = record(b"esds").expect("a sample entry of a known kind");
    let at = esds.windows(4).position(|window| window == [0x05, 0x80, 0x80, 0x80]).unwrap();
    codec::aac(&esds.slice(at + 5..at + 5 + usize::from(esds[at + 4])))
}

fn packets(file: &Path, bytes: &[u8]) -> Vec<Packet> {
    let entries = "packet=pts,dts,duration,size,pos,flags";
    let listing = run("ffprobe", &["-v", "warning", "-ignore_editlist", "1", "-show_entries", entries, text(file)]);
    let listing = String::from_utf8(listing).unwrap();
    listing
        .split("[/PACKET]")
        .filter(|packet| packet.contains("pts="))
        .map(|packet| {
            let field = |name: &str| packet.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let number = |name: &str| field(name).parse::<i64>().unwrap();
            let (start, size) = (number("pos=") as usize, number("size=") as usize);
            Packet {
                pts: number("pts="),
                dts: number("dts="),
                // Of fragments ffprobe does not always tell it.
                duration: field("duration=").parse().unwrap_or(0),
                key: field("flags=").starts_with('K'),
                payload: Bytes::copy_from_slice(&bytes[start..start + size]),
            }
        })
        .collect()
}

fn probe(file: &Path, entries: &str) -> String {
    let options = ["-v", "warning", "-count_frames", "-show_entries", entries, "-of", "csv=p=0", text(file)];
    String::from_utf8(run("ffprobe", &options)).unwrap().trim().to_owned()
}

/// One hash for each decoded frame.
fn decoded(file: &Path) -> Vec<String> {
    // Every frame as it is decoded: none repeated or left out by its time.
    let options =
        ["-v", "warning", "-ignore_editlist", "1", "-i", text(file), "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let listing = String::from_utf8(run("ffmpeg", &options)).unwrap();
    let frames = listing.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Standard output of a program that succeeds and warns of nothing.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(if program == "ffmpeg" { &["-nostdin", "-y"][..] } else { &[] })
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} (from the Debian package ffmpeg): {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaints}");
    // What encoders say while they make the original is not ours to answer for.
    assert!(arguments.contains(&"error") || complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Streams do not start at zero: a number of ticks that 32 bits cannot hold.
const OFFSET: i64 = 10_000_000_000;
