//! The `view` mode: many viewers of one stream, spread over one single-threaded runtime per core, started one after the
//! other over the ramp. Adds up what they saw and makes the summary.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::follow::{Context, Inspect};
use crate::http::Origin;
use crate::play::Play;
use crate::progress::Progress;
use crate::tally::{Firsts, Spread, Tally};
use crate::{Outcome, viewer};

/// Plays a stream as many LL-HLS viewers.
///
/// Each behaves as hls.js 1.7 does: multivariant playlist, media playlists of pictures and sound, init, start at the
/// newest independent part behind PART-HOLD-BACK, then blocking reloads with delta playlists and every new part. Beyond hls.js,
/// which waits until a part is listed, the part hinted next is requested before it exists (see --no-hints).
#[derive(Args, Clone, Debug)]
pub(crate) struct View {
    #[command(flatten)]
    play: Play,
    /// How many viewers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    viewers: u32,
    /// Over how long the viewers start, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = crate::seconds)]
    ramp: f64,
    /// Threads, each with its share of the viewers; 0 for one per core
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: u16,
}

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    url: String,
    http: &'static str,
    hints: bool,
    viewers: u32,
    joined: u64,
    seconds: f64,
    part_target_ms: f64,
    join_ms: Spread,
    part_after_first_viewer_ms: Spread,
    oldest_frame_age_ms: Spread,
    reload_after_first_viewer_ms: Spread,
    parts: u64,
    late: u64,
    playlists: u64,
    stale_playlists: u64,
    skipped: u64,
    broken_hints: u64,
    failed: u64,
    failures: BTreeMap<String, u64>,
    parts_per_second: f64,
    playlists_per_second: f64,
    bytes: u64,
    megabits_per_second: f64,
}

impl View {
    /// Runs to its end, or until interrupted.
    pub(crate) fn run(&self, allow_remote: bool) -> Outcome<Summary> {
        let origin = Arc::new(self.play.origin(allow_remote)?);
        let connections = u64::from(self.viewers) * if self.play.http2 { 1 } else { 4 };
        crate::descriptors::require(connections)?;
        let (progress, firsts, stop) = (Arc::default(), Arc::new(Firsts::default()), CancellationToken::new());
        let threads = self.threads();
        let length = Duration::from_secs_f64(self.play.seconds);
        let started = Instant::now();
        let mut workers = Vec::new();
        for thread in 0..threads {
            let seat = Seat { first: thread, step: threads, total: self.viewers, ramp: self.ramp };
            let fleet = Fleet {
                origin: origin.clone(),
                firsts: firsts.clone(),
                progress: Arc::clone(&progress),
                hints: self.play.hints(),
                plain: self.play.plain,
            };
            let stop = stop.clone();
            let work = move || fleet.play(seat, started + length, &stop, None);
            workers.push(std::thread::Builder::new().name(format!("viewers-{thread}")).spawn(work)?);
        }
        let stop_when_done = stop.clone();
        crate::runtime()?.block_on(progress.watch("viewing", length, &stop_when_done));
        let mut sum = Tally::new();
        for worker in workers {
            sum.add(&worker.join().map_err(|_| "a worker thread died")??);
        }
        Ok(self.summary(&sum, started.elapsed()))
    }

    fn threads(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = if self.threads == 0 { u32::try_from(cores).unwrap_or(1) } else { u32::from(self.threads) };
        wanted.min(self.viewers)
    }

    fn summary(&self, sum: &Tally, took: Duration) -> Summary {
        let seconds = took.as_secs_f64().max(0.001);
        Summary {
            mode: "view",
            url: self.play.url.clone(),
            http: if self.play.http2 { "2" } else { "1.1" },
            hints: self.play.hints(),
            viewers: self.viewers,
            joined: sum.joined,
            seconds,
            part_target_ms: sum.part_target * 1e3,
            join_ms: sum.join.spread(),
            part_after_first_viewer_ms: sum.delay.spread(),
            oldest_frame_age_ms: sum.clock.spread(),
            reload_after_first_viewer_ms: sum.reload.spread(),
            parts: sum.parts,
            late: sum.late,
            playlists: sum.playlists,
            stale_playlists: sum.stale,
            skipped: sum.skipped,
            broken_hints: sum.broken_hints,
            failed: sum.failures.values().sum(),
            failures: sum.failures_by_name(),
            parts_per_second: sum.parts as f64 / seconds,
            playlists_per_second: sum.playlists as f64 / seconds,
            bytes: sum.bytes,
            megabits_per_second: sum.bytes as f64 * 8.0 / seconds / 1e6,
        }
    }
}

impl Summary {
    /// Whether anything could be played.
    pub(crate) fn worked(&self) -> bool {
        self.joined > 0
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} of {} viewers joined over HTTP/{} in {:.1} s",
            self.joined, self.viewers, self.http, self.seconds
        )?;
        crate::report::heading(out)?;
        crate::report::spread(out, "join", &self.join_ms)?;
        crate::report::spread(out, "part, after the first viewer", &self.part_after_first_viewer_ms)?;
        crate::report::spread(out, "part, after its first capture", &self.oldest_frame_age_ms)?;
        crate::report::spread(out, "reload, after the first viewer", &self.reload_after_first_viewer_ms)?;
        writeln!(
            out,
            "parts      {} ({:.0}/s), {} late by more than {:.0} ms, {} skipped, {} hints broken",
            self.parts, self.parts_per_second, self.late, self.part_target_ms, self.skipped, self.broken_hints
        )?;
        writeln!(
            out,
            "playlists  {} ({:.0}/s), {} with nothing new",
            self.playlists, self.playlists_per_second, self.stale_playlists
        )?;
        writeln!(out, "bytes      {} ({:.0} Mbit/s)", self.bytes, self.megabits_per_second)?;
        crate::report::failures(out, self.failed, &self.failures)
    }
}

/// The viewers of one thread: every `step`-th from `first` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// Number of the first one.
    pub(crate) first: u32,
    /// Distance to the next.
    pub(crate) step: u32,
    /// Viewers of the whole run.
    pub(crate) total: u32,
    /// Seconds over which all of them start.
    pub(crate) ramp: f64,
}

/// What a thread needs to make its viewers.
pub(crate) struct Fleet {
    /// The server.
    pub(crate) origin: Arc<Origin>,
    /// Of the whole run.
    pub(crate) firsts: Arc<Firsts>,
    /// Of the whole run.
    pub(crate) progress: Arc<Progress>,
    /// Request hinted parts.
    pub(crate) hints: bool,
    /// No LL-HLS.
    pub(crate) plain: bool,
}

impl Fleet {
    /// Plays on the calling thread until the deadline, until all viewers have seen the stream's end, or until stopped.
    pub(crate) fn play(
        self,
        seat: Seat,
        deadline: Instant,
        stop: &CancellationToken,
        inspect: Option<Inspect>,
    ) -> std::io::Result<Tally> {
        let context = Rc::new(Context {
            origin: self.origin,
            hints: self.hints,
            plain: self.plain,
            firsts: self.firsts,
            progress: self.progress,
            tally: RefCell::new(Tally::new()),
            inspect,
        });
        let runtime = crate::runtime()?;
        let local = tokio::task::LocalSet::new();
        let watched = context.clone();
        local.block_on(&runtime, async move {
            let mut viewers = tokio::task::JoinSet::new();
            for number in (seat.first..seat.total).step_by(seat.step.max(1) as usize) {
                let wait = seat.ramp * f64::from(number) / f64::from(seat.total.max(1));
                let context = watched.clone();
                viewers.spawn_local(async move {
                    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                    Box::pin(viewer::play(context)).await;
                });
            }
            tokio::select! {
                () = async { while viewers.join_next().await.is_some() {} } => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
                () = stop.cancelled() => {}
            }
        });
        drop(local);
        Ok(context.tally.replace(Tally::new()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake::{Fake, PARTS};

    fn watch(fake: &Fake, viewers: u32, http2: bool, hints: bool) -> Tally {
        let url = format!("http://{}/live/a/index.m3u8", fake.address);
        let target = crate::target::Target::parse(&url, &["http"], false).unwrap();
        let fleet = Fleet {
            origin: Arc::new(Origin { target, http2, tls: None }),
            firsts: Arc::default(),
            progress: Arc::default(),
            hints,
            plain: false,
        };
        let seat = Seat { first: 0, step: 1, total: viewers, ramp: 0.0 };
        fleet.play(seat, Instant::now() + Duration::from_secs(30), &CancellationToken::new(), None).unwrap()
    }

    #[test]
    fn viewers_play_to_the_end_over_either_http() {
        for http2 in [false, true] {
            let (first, total) = (6, 40);
            let fake = Fake::start(first, total);
            let tally = watch(&fake, 5, http2, true);
            assert_eq!(tally.failures_by_name(), BTreeMap::new());
            assert_eq!((tally.joined, tally.skipped, tally.stale), (5, 0, 0));
            // Two renditions share the show; each viewer starts at the newest part that begins a segment 0.75 s before the edge.
            assert!(tally.parts >= 2 * (total - first) && tally.parts <= 5 * 2 * total, "{}", tally.parts);
            assert_eq!(tally.join.spread().count, 5);
            let asked = fake.asked();
            assert_eq!(asked["/live/a/index.m3u8"], 5);
            assert_eq!(asked["/live/a/init-0.mp4"], 10);
            let last = format!("/live/a/{}.{}.m4s", (total - 1) / PARTS, (total - 1) % PARTS);
            assert_eq!(asked[&last], 10, "everybody fetches the last part of both renditions, and once");
        }
    }

    #[test]
    fn without_hints_nothing_is_asked_for_before_it_is_listed() {
        let fake = Fake::start(8, 24);
        let tally = watch(&fake, 1, false, false);
        assert_eq!((tally.joined, tally.broken_hints), (1, 0));
        assert!(tally.clock.spread().count == 0, "no dates in this playlist");
        assert_eq!(fake.asked()["/live/a/5.3.m4s"], 2);
    }
}
