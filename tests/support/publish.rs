//! ffmpeg as the broadcaster: live encodings of a test picture and a tone, or a file sent as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::process::Process;
use super::server::Headwater;

/// What is broadcast.
#[derive(Clone, Debug)]
pub struct Show {
    /// Width, height; None without picture.
    pub size: Option<(u32, u32)>,
    pub rate: u32,
    /// Frames from key frame to key frame.
    pub gop: u32,
    /// Key frames at these seconds too.
    pub keys_at: &'static [f64],
    pub b_frames: u32,
    /// Sample rate and channels; None without sound.
    pub sound: Option<(u32, u32)>,
    pub profile: &'static str,
    /// End by itself after this many seconds.
    pub seconds: Option<u32>,
    /// Sends this file without encoding, at its own pace, again and again.
    pub copy: Option<PathBuf>,
}

impl Default for Show {
    /// Small, live, a key frame a second.
    fn default() -> Show {
        Show {
            size: Some((320, 180)),
            rate: 30,
            gop: 30,
            keys_at: &[],
            b_frames: 0,
            sound: Some((48_000, 2)),
            profile: "high",
            seconds: None,
            copy: None,
        }
    }
}

/// A running ffmpeg that publishes.
pub struct Ffmpeg {
    pub process: Process,
}

impl Show {
    /// Publishes to a server under a stream key (`NAME` or `NAME?key=SECRET`).
    pub fn publish(&self, server: &Headwater, key: &str) -> Ffmpeg {
        self.publish_to(&format!("{}/{key}", server.rtmp))
    }

    /// Publishes to a URL.
    pub fn publish_to(&self, url: &str) -> Ffmpeg {
        let mut command = ffmpeg();
        match &self.copy {
            Some(file) => {
                command.args(["-re", "-stream_loop", "-1", "-i"]).arg(file).args(["-c", "copy"]);
                // A track that begins late is not waited for.
                command.args(["-max_interleave_delta", "100000"]);
            }
            None => self.encode(&mut command, true),
        }
        command.args(["-flvflags", "no_duration_filesize", "-f", "flv", url]);
        Ffmpeg { process: Process::start("ffmpeg", command) }
    }

    /// Writes it to a file instead, as fast as it goes; `seconds` must be given.
    pub async fn write(&self, file: &Path) {
        let mut command = ffmpeg();
        self.encode(&mut command, false);
        command.args(["-f", "flv", "-y"]).arg(file);
        let mut process = Process::start("ffmpeg", command);
        let status = process.exit(Duration::from_secs(60)).await;
        assert!(status.success(), "ffmpeg: {}", process.output());
    }

    fn encode(&self, command: &mut Command, live: bool) {
        let pace: &[&str] = if live { &["-re"] } else { &[] };
        if let Some((width, height)) = self.size {
            let source = format!("testsrc2=size={width}x{height}:rate={}", self.rate);
            command.args(pace).args(["-f", "lavfi", "-i", &source]);
        }
        if let Some((rate, _)) = self.sound {
            let source = format!("sine=frequency=440:sample_rate={rate}");
            command.args(pace).args(["-f", "lavfi", "-i", &source]);
        }
        if self.size.is_some() {
            let (gop, b) = (self.gop.to_string(), self.b_frames.to_string());
            command.args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-profile:v",
                self.profile,
                "-pix_fmt",
                "yuv420p",
            ]);
            command.args(["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0", "-b:v", "400k", "-bf", &b]);
            command.args(["-maxrate", "500k", "-bufsize", "500k", "-threads", "1"]);
            if !self.keys_at.is_empty() {
                let times: Vec<String> = self.keys_at.iter().map(ToString::to_string).collect();
                command.args(["-force_key_frames", &times.join(",")]);
            }
            if self.b_frames == 0 {
                command.args(["-tune", "zerolatency"]);
            }
        }
        if let Some((rate, channels)) = self.sound {
            command.args(["-c:a", "aac", "-b:a", "64k", "-ar", &rate.to_string(), "-ac", &channels.to_string()]);
        }
        if let Some(seconds) = self.seconds {
            command.args(["-t", &seconds.to_string()]);
        }
    }
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "warning"]);
    command
}

/// Writes a file of what these arguments of ffmpeg describe, as H.264 without B-frames and AAC in FLV.
pub async fn encode(arguments: &[&str], file: &Path) {
    let mut command = ffmpeg();
    command.args(arguments).args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-c:a", "aac", "-f", "flv"]);
    let status = command.arg(file).status().await.expect("ffmpeg runs");
    assert!(status.success(), "ffmpeg {arguments:?}");
}

/// What ffprobe sees of a URL: one line for each stream, `codec_type,codec_name,...`.
pub async fn probe(url: &str, entries: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-hide_banner", "-loglevel", "error", "-show_entries", entries, "-of", "compact=p=0:nk=0", url]);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await;
    let output = output.expect("ffprobe ends").expect("ffprobe runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Decodes a file; the complaints of the decoder, which must be none.
pub async fn decode(file: &Path) -> String {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-xerror", "-i"]).arg(file);
    // Frames keep their own times: on a clock of the frame rate, two could fall on one tick and be complained of.
    command.args(["-fps_mode", "passthrough", "-enc_time_base:v", "-1", "-f", "null", "-"]);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await;
    let output = output.expect("ffmpeg ends").expect("ffmpeg runs");
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        text += &format!("\nffmpeg: {}", output.status);
    }
    text
}
