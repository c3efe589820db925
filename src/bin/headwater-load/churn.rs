//! The `churn` mode: publishers that connect, send the beginning of a clip and leave, over and over. It
//! measures nothing of the server's memory itself: `scripts/bench` looks at that from outside, before and after.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::Outcome;
use crate::flv::Clip;
use crate::publisher::{Failure, Publisher};
use crate::tally::{Spread, Times};
use crate::target::Target;

/// Connects, publishes a moment of an FLV file and disconnects, many times.
#[derive(Args, Clone, Debug)]
pub(crate) struct Churn {
    /// Server and application, such as rtmp://127.0.0.1:1935/live
    #[arg(long)]
    url: String,
    /// Stream key; %d becomes the number of the lane, so that names come back again and again
    #[arg(long, default_value = "churn-%d")]
    name: String,
    /// Cycles in all
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cycles: u32,
    /// Lanes: cycles at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lanes: u32,
    /// The FLV file
    #[arg(long)]
    file: PathBuf,
    /// Frames sent in each cycle, at once
    #[arg(long, default_value_t = 75, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    frames: u32,
    /// Vanish without saying goodbye in every second cycle
    #[arg(long)]
    vanish: bool,
}

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    url: String,
    cycles: u32,
    done: u64,
    seconds: f64,
    connect_ms: Spread,
    failed: u64,
    failures: BTreeMap<String, u64>,
}

struct Run {
    clip: Clip,
    target: Target,
    options: Churn,
    left: Cell<u32>,
    done: Cell<u64>,
    connect: RefCell<Times>,
    failures: RefCell<BTreeMap<Failure, u64>>,
}

impl Churn {
    /// Runs all cycles.
    pub(crate) fn run(&self, allow_remote: bool) -> Outcome<Summary> {
        let target = Target::parse(&self.url, &["rtmp"], allow_remote)?;
        crate::descriptors::require(u64::from(self.lanes))?;
        let clip = Clip::open(&self.file, CHUNK_SIZE).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let run = Rc::new(Run {
            clip,
            target,
            options: self.clone(),
            left: Cell::new(self.cycles),
            done: Cell::new(0),
            connect: RefCell::new(Times::new()),
            failures: RefCell::default(),
        });
        let started = Instant::now();
        let all = run.clone();
        tokio::task::LocalSet::new().block_on(&crate::runtime()?, async move {
            let mut lanes = tokio::task::JoinSet::new();
            for lane in 0..all.options.lanes {
                lanes.spawn_local(all.clone().lane(lane));
            }
            while lanes.join_next().await.is_some() {}
        });
        Ok(run.summary(started.elapsed()))
    }
}

impl Run {
    async fn lane(self: Rc<Self>, lane: u32) {
        let name = self.options.name.replace("%d", &lane.to_string());
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            match self.cycle(&name, self.options.vanish && left % 2 == 0).await {
                Ok(()) => self.done.set(self.done.get() + 1),
                Err(failure) => {
                    *self.failures.borrow_mut().entry(failure).or_default() += 1;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn cycle(&self, name: &str, vanish: bool) -> Result<(), Failure> {
        let began = Instant::now();
        let mut publisher = Publisher::connect(&self.target, name, CHUNK_SIZE as u32).await?;
        self.connect.borrow_mut().record(began.elapsed());
        publisher.deliver(&self.clip.setup).await?;
        publisher.deliver(&self.clip.tags[..self.clip.tags.len().min(self.options.frames as usize)]).await?;
        if !vanish {
            publisher.finish().await;
        }
        Ok(())
    }

    fn summary(&self, took: Duration) -> Summary {
        let failures = self.failures.borrow();
        Summary {
            mode: "churn",
            url: self.options.url.clone(),
            cycles: self.options.cycles,
            done: self.done.get(),
            seconds: took.as_secs_f64(),
            connect_ms: self.connect.borrow().spread(),
            failed: failures.values().sum(),
            failures: failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect(),
        }
    }
}

impl Summary {
    /// Whether any cycle went through.
    pub(crate) fn worked(&self) -> bool {
        self.done > 0
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(out, "{} of {} cycles in {:.1} s", self.done, self.cycles, self.seconds)?;
        crate::report::heading(out)?;
        crate::report::spread(out, "connect to consent", &self.connect_ms)?;
        crate::report::failures(out, self.failed, &self.failures)
    }
}

/// As OBS has it.
const CHUNK_SIZE: usize = 4096;

/// Wait after a failed cycle, so that a server that refuses everything is not flooded.
const RETRY: Duration = Duration::from_millis(50);
