//! The frame log under readers: what a push costs, and how fast everybody has what was pushed. Needs no server.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use clap::Args;
use headwater::hub::{Budget, Entry, From, Log as FrameLog};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{Outcome, runtime};

/// Measure push and delivery of the frame log with many readers
#[derive(Args)]
pub(crate) struct Log {
    /// How many readers follow the log, one run for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 10_000])]
    readers: Vec<usize>,
    /// Deliveries of one run; the number of pushes follows from it
    #[arg(long, default_value_t = 2_000_000)]
    deliveries: u64,
}

/// What all runs showed.
#[derive(Serialize)]
pub(crate) struct Summary {
    runs: Vec<Run>,
}

/// One run.
#[derive(Serialize)]
struct Run {
    readers: usize,
    pushes: u64,
    /// Nanoseconds that the writer spends in one push, on average.
    push_ns: f64,
    /// Nanoseconds from the first push to the last delivery, per delivery.
    delivery_ns: f64,
    lagged: u64,
}

#[derive(Clone)]
struct Tick(u64);

impl Entry for Tick {
    fn bytes(&self) -> usize {
        1
    }

    fn is_start(&self) -> bool {
        // As often as a source with a key frame every two seconds at thirty pictures and fifty sounds a second.
        self.0.is_multiple_of(160)
    }
}

/// Pushes between two places at which the writer waits for every reader: what is measured is delivery, not how far a log
/// can be overrun. Far fewer than there are between two starts, so that no reader can lag.
const BURST: u64 = 16;

impl Log {
    pub(crate) fn run(&self) -> Outcome<Summary> {
        let runs = self.readers.iter().map(|readers| measure((*readers).max(1), self.deliveries));
        Ok(Summary { runs: runs.collect::<Outcome<_>>()? })
    }
}

impl Summary {
    pub(crate) fn worked(&self) -> bool {
        !self.runs.is_empty()
    }

    pub(crate) fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{:>8} {:>9} {:>12} {:>16} {:>7}", "readers", "pushes", "push ns", "ns per delivery", "lagged")?;
        for run in &self.runs {
            let Run { readers, pushes, push_ns, delivery_ns, lagged } = run;
            writeln!(out, "{readers:>8} {pushes:>9} {push_ns:>12.0} {delivery_ns:>16.0} {lagged:>7}")?;
        }
        Ok(())
    }
}

/// Readers live on a thread of their own; the writer is this one.
fn measure(readers: usize, deliveries: u64) -> Outcome<Run> {
    let pushes = (deliveries / readers as u64).clamp(200, 1_000_000);
    let log = FrameLog::<Tick>::new(usize::MAX, &Budget::new(usize::MAX));
    let reader = log.reader();
    let barrier = Arc::new(Barrier::new(2));
    let arrived = Arc::new(AtomicU64::new(0));
    let (ready, arrivals) = (barrier.clone(), arrived.clone());
    let thread = std::thread::spawn(move || -> std::io::Result<u64> {
        runtime()?.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..readers {
                let mut cursor = reader.cursor(From::Oldest);
                let arrivals = arrivals.clone();
                tasks.spawn(async move {
                    let mut lagged = 0;
                    loop {
                        match cursor.next().await {
                            Ok(Some(tick)) => {
                                if tick.0.is_multiple_of(BURST) {
                                    arrivals.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            Ok(None) => return lagged,
                            Err(_) => lagged += cursor.skip_to_newest_start(),
                        }
                    }
                });
            }
            // Every reader waits before the first push.
            tokio::task::yield_now().await;
            ready.wait();
            let mut lagged = 0;
            while let Some(reader) = tasks.join_next().await {
                lagged += reader.unwrap_or(0);
            }
            Ok(lagged)
        })
    });
    barrier.wait();
    let began = Instant::now();
    let mut pushing = Duration::ZERO;
    for number in 1..=pushes {
        let before = Instant::now();
        log.push(Tick(number));
        pushing += before.elapsed();
        // On only when everybody has had the burst before the newest whole one.
        while arrived.load(Ordering::Relaxed) + (readers as u64) < number / BURST * readers as u64 {
            std::thread::yield_now();
        }
    }
    drop(log);
    let lagged = thread.join().map_err(|_| "the readers' thread failed")??;
    let delivered = (pushes * readers as u64) as f64;
    Ok(Run {
        readers,
        pushes,
        push_ns: pushing.as_nanos() as f64 / pushes as f64,
        delivery_ns: began.elapsed().as_nanos() as f64 / delivered,
        lagged,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_reader_gets_every_push() {
        let run = measure(10, 5_000).unwrap();
        assert_eq!((run.pushes, run.lagged), (500, 0));
    }
}
