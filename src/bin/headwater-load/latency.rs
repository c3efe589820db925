//! The `latency` mode: publishes one clip, notes when each frame is handed to the socket, plays the stream as one viewer,
//! and tells for each frame how long after that the part with it had arrived in full. Both ends are in this process, so
//! there is one clock. Frames are told apart by their sizes and decoding times, never by the server's word.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::flv::{Clip, TIME_LIMIT};
use crate::follow::{Body, Inspect};
use crate::moof::{self, Sample};
use crate::play::Play;
use crate::progress::Progress;
use crate::publisher::{Feed, Publisher, Sending};
use crate::tally::{Firsts, Spread, Tally, Times};
use crate::target::Target;
use crate::view::{Fleet, Seat};

/// Publishes a stream and plays it, and measures the time from publishing each frame to having its part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Latency {
    /// Server and application to publish to, such as rtmp://127.0.0.1:1935/live
    #[arg(long)]
    publish: String,
    /// Stream key
    #[arg(long, default_value = "latency")]
    name: String,
    /// The FLV file
    #[arg(long)]
    file: PathBuf,
    /// Chunk size in bytes
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(128..=65_536))]
    chunk_size: u32,
    #[command(flatten)]
    play: Play,
}

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    url: String,
    hints: bool,
    seconds: f64,
    frames_sent: u64,
    frames_received: u64,
    frames_matched: u64,
    publish_to_part_ms: Spread,
    send_behind_ms: Spread,
    parts: u64,
    part_target_ms: f64,
    part_mean_ms: f64,
    part_max_ms: f64,
    p50_limit_ms: f64,
    p99_limit_ms: f64,
    within_limits: bool,
    failed: u64,
}

/// A frame that went out.
#[derive(Clone, Copy, Debug)]
struct Sent {
    time: u32,
    length: usize,
    at: Instant,
}

/// A frame that came back.
#[derive(Clone, Copy, Debug)]
struct Received {
    seconds: f64,
    size: u32,
    at: Instant,
    /// Not one of those that were there already when the viewer came.
    live: bool,
}

#[derive(Default)]
struct Book {
    received: Vec<Received>,
    parts: Vec<f64>,
}

impl Latency {
    /// Runs to its end, or until interrupted.
    pub(crate) fn run(&self, allow_remote: bool) -> Outcome<Summary> {
        let target = Target::parse(&self.publish, &["rtmp"], allow_remote)?;
        let origin = Arc::new(self.play.origin(allow_remote)?);
        if self.play.seconds * 1e3 >= f64::from(TIME_LIMIT) {
            return Err(format!("--seconds must be below {}", TIME_LIMIT / 1000).into());
        }
        let clip = Clip::open(&self.file, self.chunk_size as usize)
            .map_err(|error| format!("{}: {error}", self.file.display()))?;
        let (book, stop) = (Arc::new(Mutex::new(Book::default())), CancellationToken::new());
        let progress = Arc::new(Progress::default());
        let length = Duration::from_secs_f64(self.play.seconds);
        let fleet = Fleet {
            origin,
            firsts: Arc::new(Firsts::default()),
            progress: progress.clone(),
            hints: self.play.hints(),
            plain: self.play.plain,
        };
        let runtime = crate::runtime()?;
        // The viewer comes second, so that it is not told that there is no such stream.
        let publisher = runtime.block_on(Publisher::connect(&target, &self.name, self.chunk_size))?;
        let (inspect, stopping) = (inspector(book.clone()), stop.clone());
        let seat = Seat { first: 0, step: 1, total: 1, ramp: 0.0 };
        let deadline = Instant::now() + length;
        let viewer = std::thread::Builder::new()
            .name("viewer".to_owned())
            .spawn(move || fleet.play(seat, deadline, &stopping, Some(inspect)))?;
        let sent = runtime.block_on(async {
            tokio::select! {
                sent = self.feed(publisher, &clip, &stop) => sent,
                () = progress.watch("measuring", length, &stop) => Err("interrupted".into()),
            }
        });
        stop.cancel();
        let tally = viewer.join().map_err(|_| "the viewer's thread died")??;
        let (sent, behind) = sent?;
        let book = std::mem::take(&mut *book.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(self.summary(&sent, &behind, &book, &tally))
    }

    /// Publishes until the run is over, or until `stop`; gives back what went out when.
    async fn feed(&self, publisher: Publisher, clip: &Clip, stop: &CancellationToken) -> Outcome<(Vec<Sent>, Times)> {
        let end = Instant::now() + Duration::from_secs_f64(self.play.seconds).saturating_sub(MARGIN);
        let mut feed = Feed::new(publisher, Instant::now());
        let (main, mut sent, mut behind) = (clip.main_kind(), Vec::new(), Times::new());
        while Instant::now() < end && !stop.is_cancelled() {
            // A socket that is full is looked at again in a moment, not in a loop without one.
            let next = feed.due(clip).max(Instant::now() + Duration::from_micros(100));
            tokio::time::sleep_until(next.into()).await;
            let mut told = |sending: Sending<'_>| {
                behind.record(sending.behind);
                if sending.tag.kind == main && !sending.header {
                    sent.push(Sent { time: sending.time, length: sending.tag.length, at: Instant::now() });
                }
            };
            feed.advance(clip, Instant::now(), &mut told)?;
        }
        feed.finish().await;
        Ok((sent, behind))
    }

    fn summary(&self, sent: &[Sent], behind: &Times, book: &Book, tally: &Tally) -> Summary {
        let (times, matched) = compare(sent, &book.received);
        let spread = times.spread();
        let mean = book.parts.iter().sum::<f64>() * 1e3 / book.parts.len().max(1) as f64;
        let longest = book.parts.iter().fold(0.0, |longest: f64, part| longest.max(*part)) * 1e3;
        let target = tally.part_target * 1e3;
        let (p50_limit, p99_limit) = (target / 2.0 + 5.0, target + 15.0);
        Summary {
            mode: "latency",
            url: self.play.url.clone(),
            hints: self.play.hints(),
            seconds: self.play.seconds,
            frames_sent: sent.len() as u64,
            frames_received: book.received.len() as u64,
            frames_matched: matched,
            publish_to_part_ms: spread,
            send_behind_ms: behind.spread(),
            parts: book.parts.len() as u64,
            part_target_ms: target,
            part_mean_ms: mean,
            part_max_ms: longest,
            p50_limit_ms: p50_limit,
            p99_limit_ms: p99_limit,
            within_limits: matched > 0 && spread.p50 <= p50_limit && spread.p99 <= p99_limit,
            failed: tally.failures.values().sum(),
        }
    }
}

/// Notes the samples of every part of the main rendition as it comes.
fn inspector(book: Arc<Mutex<Book>>) -> Inspect {
    let timescale = AtomicU32::new(0);
    Box::new(move |rendition, body, head, at| {
        if rendition != 0 {
            return;
        }
        let live = body == Body::Media;
        if body == Body::Init {
            timescale.store(moof::timescale(head).unwrap_or(0), Ordering::Relaxed);
            return;
        }
        let scale = f64::from(timescale.load(Ordering::Relaxed).max(1));
        let samples = moof::samples(head);
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        if live {
            book.parts.push(samples.iter().map(|sample| f64::from(sample.duration)).sum::<f64>() / scale);
        }
        let seen = |sample: &Sample| Received { seconds: sample.time as f64 / scale, size: sample.size, at, live };
        book.received.extend(samples.iter().map(seen));
    })
}

/// Finds where in what was sent the received frames begin, then pairs them by their distance in time from there.
fn compare(sent: &[Sent], received: &[Received]) -> (Times, u64) {
    let (mut times, mut matched) = (Times::new(), 0);
    let Some((first, start)) = received.first().zip(align(sent, received)) else { return (times, 0) };
    let mut candidates = sent[start..].iter().peekable();
    for frame in received {
        let wanted = f64::from(sent[start].time) + (frame.seconds - first.seconds) * 1e3;
        while candidates.next_if(|sent| f64::from(sent.time) < wanted - TOLERANCE_MS).is_some() {}
        if let Some(sent) = candidates.next_if(|sent| f64::from(sent.time) <= wanted + TOLERANCE_MS) {
            matched += 1;
            if frame.live {
                times.record(frame.at.saturating_duration_since(sent.at));
            }
        }
    }
    (times, matched)
}

/// The frame that the first received one is: where the sizes that follow agree best. The body of a frame is its message
/// less the 5 bytes of its FLV header, or the 8 of an enhanced one with composition time; a server may take more off some frames, so not all have to agree.
fn align(sent: &[Sent], received: &[Received]) -> Option<usize> {
    let probe = &received[..received.len().min(PROBE)];
    let agreeing = |start: usize| {
        let pairs = probe.iter().zip(&sent[start..]);
        pairs
            .filter(|(received, sent)| {
                [5, 8].map(|n| sent.length.saturating_sub(n)).contains(&(received.size as usize))
            })
            .count()
    };
    // The viewer joins soon after the start, so of equals the first is the one.
    let (best, start) = (0..sent.len().min(SEARCHED))
        .map(|start| (agreeing(start), start))
        .max_by_key(|(n, start)| (*n, std::cmp::Reverse(*start)))?;
    (best * 2 > probe.len()).then_some(start)
}

impl Summary {
    /// Whether frames came through and were recognised.
    pub(crate) fn worked(&self) -> bool {
        self.frames_matched > 0
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} frames sent, {} received in {} parts, {} matched",
            self.frames_sent, self.frames_received, self.parts, self.frames_matched
        )?;
        crate::report::heading(out)?;
        crate::report::spread(out, "publish to part received", &self.publish_to_part_ms)?;
        crate::report::spread(out, "message, behind its time", &self.send_behind_ms)?;
        writeln!(
            out,
            "parts      target {:.0} ms, mean {:.0} ms, longest {:.0} ms",
            self.part_target_ms, self.part_mean_ms, self.part_max_ms
        )?;
        let verdict = if self.within_limits { "within" } else { "NOT within" };
        writeln!(
            out,
            "limits     p50 {:.0} ms, p99 {:.0} ms: {verdict}; {} requests failed",
            self.p50_limit_ms, self.p99_limit_ms, self.failed
        )
    }
}

/// Frames are 8 ms apart at 120 a second; timestamps are whole milliseconds on one side.
const TOLERANCE_MS: f64 = 3.0;

/// Frames whose sizes are compared to find the beginning: a second or two.
const PROBE: usize = 60;

/// Where the beginning is looked for: the first minutes.
const SEARCHED: usize = 10_000;

/// Publishing ends this long before the run, so that the last parts can come in.
const MARGIN: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(start: Instant, count: u32) -> Vec<Sent> {
        let frame = |n: u32| Sent {
            time: n * 33,
            length: 5 + (n as usize * 7919) % 997,
            at: start + Duration::from_millis(u64::from(n) * 33),
        };
        (0..count).map(frame).collect()
    }

    fn received(sent: &[Sent], after: Duration) -> Vec<Received> {
        let frame = |s: &Sent| Received {
            seconds: 1000.0 + f64::from(s.time) / 1e3,
            size: u32::try_from(s.length).unwrap_or(0) - 5,
            at: s.at + after,
            live: true,
        };
        sent.iter().map(frame).collect()
    }

    #[test]
    fn frames_find_their_senders_from_the_middle() {
        let sent = sent(Instant::now(), 300);
        let mut received = received(&sent[70..290], Duration::from_millis(120));
        received.remove(100);
        received[3].size += 4;
        let (times, matched) = compare(&sent, &received);
        assert_eq!(matched, 219);
        let spread = times.spread();
        assert!((spread.p50 - 120.0).abs() < 0.2 && (spread.max - 120.0).abs() < 0.2, "{spread:?}");
    }

    #[test]
    fn another_stream_is_not_taken_for_ours() {
        let sent = sent(Instant::now(), 100);
        let mut received = received(&sent, Duration::ZERO);
        received.iter_mut().for_each(|frame| frame.size += 1);
        assert_eq!(compare(&sent, &received).1, 0);
        assert_eq!(compare(&sent, &[]).1, 0);
        assert_eq!(compare(&[], &received).1, 0);
    }
}
