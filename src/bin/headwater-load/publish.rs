//! The `publish` mode: many RTMP streams from one clip. One ticker serves all of them on one thread, and the
//! media is the same memory for all, so that the load costs the machine far less than the server's work on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::flv::{Clip, TIME_LIMIT};
use crate::progress::Progress;
use crate::publisher::{Failure, Feed, Publisher};
use crate::tally::{Spread, Times};
use crate::target::Target;

/// Publishes one FLV file as many RTMP streams, in a loop, at the pace of its timestamps.
#[derive(Args, Clone, Debug)]
pub(crate) struct Publish {
    /// Server and application, such as rtmp://127.0.0.1:1935/live
    #[arg(long)]
    url: String,
    /// Stream key; %d becomes the number of the stream, and "?key=SECRET" may follow
    #[arg(long, default_value = "load-%d")]
    name: String,
    /// How many streams
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    streams: u32,
    /// The FLV file; it should start with a key frame
    #[arg(long)]
    file: PathBuf,
    /// How long the run takes, in seconds; four hours at most
    #[arg(long, default_value_t = 20.0, value_parser = crate::seconds)]
    seconds: f64,
    /// Over how long the streams start, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = crate::seconds)]
    ramp: f64,
    /// Chunk size in bytes; OBS has 4096
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(128..=65_536))]
    chunk_size: u32,
    /// At the end, vanish without saying goodbye
    #[arg(long)]
    vanish: bool,
}

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    url: String,
    streams: u32,
    started: u64,
    alive_at_end: u64,
    seconds: f64,
    connect_ms: Spread,
    behind_ms: Spread,
    messages: u64,
    bytes: u64,
    megabits_per_second: f64,
    failed: u64,
    failures: BTreeMap<String, u64>,
}

/// What all streams of a run share.
struct Run {
    clip: Clip,
    target: Target,
    options: Publish,
    feeds: RefCell<Vec<Feed>>,
    sum: RefCell<Sum>,
    progress: Arc<Progress>,
}

struct Sum {
    started: u64,
    messages: u64,
    bytes: u64,
    connect: Times,
    behind: Times,
    failures: BTreeMap<Failure, u64>,
}

impl Publish {
    /// Runs to its end, or until interrupted.
    pub(crate) fn run(&self, allow_remote: bool) -> Outcome<Summary> {
        let target = Target::parse(&self.url, &["rtmp"], allow_remote)?;
        if self.seconds * 1e3 >= f64::from(TIME_LIMIT) {
            return Err(format!("--seconds must be below {}", TIME_LIMIT / 1000).into());
        }
        if self.streams > 1 && !self.name.contains("%d") {
            return Err("--name needs a %d for the number of the stream".into());
        }
        crate::descriptors::require(u64::from(self.streams))?;
        let clip = Clip::open(&self.file, self.chunk_size as usize)
            .map_err(|error| format!("{}: {error}", self.file.display()))?;
        let sum = Sum {
            started: 0,
            messages: 0,
            bytes: 0,
            connect: Times::new(),
            behind: Times::new(),
            failures: BTreeMap::new(),
        };
        let run = Rc::new(Run {
            clip,
            target,
            options: self.clone(),
            feeds: RefCell::default(),
            sum: RefCell::new(sum),
            progress: Arc::default(),
        });
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        local.block_on(&crate::runtime()?, run.clone().play());
        drop(local);
        Ok(run.summary(started.elapsed()))
    }
}

impl Run {
    async fn play(self: Rc<Self>) {
        for number in 0..self.options.streams {
            tokio::task::spawn_local(self.clone().start(number));
        }
        let stop = CancellationToken::new();
        let length = Duration::from_secs_f64(self.options.seconds);
        let progress = self.progress.clone();
        let watch = async { progress.watch("publishing", length, &stop).await };
        tokio::select! {
            () = watch => {}
            () = self.tick() => {}
        }
        if !self.options.vanish {
            let feeds: Vec<Feed> = self.feeds.borrow_mut().drain(..).collect();
            let alive = feeds.len() as u64;
            for feed in feeds {
                feed.finish().await;
            }
            self.progress.active.store(alive, Ordering::Relaxed);
        }
    }

    async fn start(self: Rc<Self>, number: u32) {
        let share = f64::from(number) / f64::from(self.options.streams);
        tokio::time::sleep(Duration::from_secs_f64(self.options.ramp * share)).await;
        let name = self.options.name.replace("%d", &number.to_string());
        let began = Instant::now();
        match Publisher::connect(&self.target, &name, self.options.chunk_size).await {
            Ok(publisher) => {
                let now = Instant::now();
                let mut sum = self.sum.borrow_mut();
                sum.started += 1;
                sum.connect.record(now - began);
                Progress::add(&self.progress.active, 1);
                self.feeds.borrow_mut().push(Feed::new(publisher, now));
            }
            Err(failure) => self.failed(failure),
        }
    }

    /// Serves all feeds, for ever.
    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let mut sum = self.sum.borrow_mut();
            let (messages, bytes) = (sum.messages, sum.bytes);
            let mut failures = Vec::new();
            self.feeds.borrow_mut().retain_mut(|feed| {
                let mut told = |sending: crate::publisher::Sending<'_>| {
                    sum.messages += 1;
                    sum.behind.record(sending.behind);
                };
                match feed.advance(&self.clip, now, &mut told) {
                    Ok(written) => {
                        sum.bytes += written as u64;
                        true
                    }
                    Err(failure) => {
                        failures.push(failure);
                        false
                    }
                }
            });
            Progress::add(&self.progress.items, sum.messages - messages);
            Progress::add(&self.progress.bytes, sum.bytes - bytes);
            drop(sum);
            for failure in failures {
                self.progress.active.fetch_sub(1, Ordering::Relaxed);
                self.failed(failure);
            }
        }
    }

    fn failed(&self, failure: Failure) {
        *self.sum.borrow_mut().failures.entry(failure).or_default() += 1;
        Progress::add(&self.progress.failed, 1);
    }

    fn summary(&self, took: Duration) -> Summary {
        let (sum, seconds) = (self.sum.borrow(), took.as_secs_f64().max(0.001));
        Summary {
            mode: "publish",
            url: self.options.url.clone(),
            streams: self.options.streams,
            started: sum.started,
            alive_at_end: self.progress.active.load(Ordering::Relaxed),
            seconds,
            connect_ms: sum.connect.spread(),
            behind_ms: sum.behind.spread(),
            messages: sum.messages,
            bytes: sum.bytes,
            megabits_per_second: sum.bytes as f64 * 8.0 / seconds / 1e6,
            failed: sum.failures.values().sum(),
            failures: sum.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect(),
        }
    }
}

impl Summary {
    /// Whether anything was published to the end.
    pub(crate) fn worked(&self) -> bool {
        self.alive_at_end > 0
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} of {} streams published, {} to the end, in {:.1} s",
            self.started, self.streams, self.alive_at_end, self.seconds
        )?;
        crate::report::heading(out)?;
        crate::report::spread(out, "connect to consent", &self.connect_ms)?;
        crate::report::spread(out, "message, behind its time", &self.behind_ms)?;
        writeln!(out, "messages   {}", self.messages)?;
        writeln!(out, "bytes      {} ({:.0} Mbit/s)", self.bytes, self.megabits_per_second)?;
        crate::report::failures(out, self.failed, &self.failures)
    }
}

/// How often due messages are looked for. Far below a frame's time, and the most that a message is late by.
const TICK: Duration = Duration::from_millis(5);
