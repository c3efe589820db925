//! Looks into live streams every few seconds: a still picture of each, and how loud it is. One worker process decodes both
//! for all streams, one thing at a time, so that nothing piles up; one that dies or hangs costs the answer it was asked for,
//! and a stream at which workers die or hang again and again rests. Never touches a frame of the ladder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};

use super::child::{Program, Worker};
use super::wire::{FromWorker, Setup, ToWorker};
use super::{Settings, listening, stills};
use crate::hub::{Hub, Stream, StreamState};

/// Looks into every live stream while that is wanted, for ever.
pub(super) async fn run(hub: Hub, mut settings: watch::Receiver<Arc<Settings>>) {
    loop {
        let wanted = settings.borrow_and_update().clone();
        let what = |settings: &Settings| (settings.stills, settings.still_width, settings.listen, settings.nice);
        tokio::select! {
            changed = settings.wait_for(|settings| what(settings) != what(&wanted)) => if changed.is_err() { return },
            () = rounds(&hub, &wanted) => {}
        }
    }
}

/// Never ends.
async fn rounds(hub: &Hub, settings: &Settings) {
    let mut lab = Lab::new(settings.program.clone(), settings.nice);
    let (mut stills, mut listening) = (every(settings.stills), every(settings.listen));
    loop {
        let pictures = tokio::select! {
            () = tick(&mut stills) => true,
            () = tick(&mut listening) => false,
        };
        let live = hub.streams().into_iter().filter(|stream| stream.state() == StreamState::Live);
        let live: Vec<Arc<Stream>> = live.collect();
        if live.is_empty() {
            // A worker that nobody needs keeps no memory.
            lab.worker = None;
        }
        for stream in live {
            if pictures {
                stills::take(&mut lab, &stream, settings.still_width).await;
            } else {
                listening::listen(&mut lab, &stream).await;
            }
        }
    }
}

fn every(interval: Option<Duration>) -> Option<Interval> {
    let mut interval = tokio::time::interval(interval?);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(interval)
}

/// None is never. Cancel-safe.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// A worker, and what is known of its work.
pub(super) struct Lab {
    program: Program,
    nice: i32,
    worker: Option<Worker>,
    /// Number of the last order.
    last: u64,
    /// By epoch: how many workers in a row were lost at a stream, and when the last.
    lost: HashMap<u64, (u32, Instant)>,
}

impl Lab {
    pub(super) fn new(program: Program, nice: i32) -> Lab {
        Lab { program, nice, worker: None, last: 0, lost: HashMap::new() }
    }

    /// Has the worker do something for the stream of this epoch, and waits for the answer that has the order's number. None:
    /// there is none, and the next order gets another worker.
    pub(super) async fn ask<T>(
        &mut self,
        epoch: u64,
        order: impl FnOnce(u64) -> ToWorker,
        read: impl Fn(FromWorker) -> Option<(u64, T)>,
    ) -> Option<T> {
        if self.rests(epoch) {
            return None;
        }
        self.last += 1;
        let id = self.last;
        let worker = self.worker()?;
        let answer = match worker.send(order(id)) {
            Ok(()) => timeout(PATIENCE, answer(worker, id, read)).await.ok().flatten(),
            Err(_) => None,
        };
        if answer.is_none() {
            self.worker = None;
            self.lose(epoch);
        } else {
            self.lost.remove(&epoch);
        }
        answer
    }

    /// One stream that no worker survives would keep all others waiting, for seconds each time.
    fn rests(&self, epoch: u64) -> bool {
        self.lost.get(&epoch).is_some_and(|(times, last)| *times >= LOSSES && last.elapsed() < REST)
    }

    fn lose(&mut self, epoch: u64) {
        // Streams that are over are forgotten with the time.
        self.lost.retain(|_, (_, last)| last.elapsed() < REST * 2);
        let (times, last) = self.lost.entry(epoch).or_insert((0, Instant::now()));
        (*times, *last) = (times.saturating_add(1), Instant::now());
    }

    fn worker(&mut self) -> Option<&mut Worker> {
        if self.worker.is_none() {
            let worker = self.program.start("lab");
            let worker = worker
                .inspect_err(|error| tracing::error!(%error, "cannot start a worker for stills and sound"))
                .ok()?;
            let setup =
                Setup { stream: "lab".to_owned(), encoders: Vec::new(), preset: String::new(), nice: self.nice };
            worker.send(ToWorker::Setup(setup)).ok()?;
            self.worker = Some(worker);
        }
        self.worker.as_mut()
    }
}

/// None: the worker is gone.
async fn answer<T>(worker: &mut Worker, id: u64, read: impl Fn(FromWorker) -> Option<(u64, T)>) -> Option<T> {
    loop {
        if let Some((of, answer)) = read(worker.next().await?)
            && of == id
        {
            return Some(answer);
        }
    }
}

/// For one answer, the start of the worker included.
const PATIENCE: Duration = Duration::from_secs(5);

/// One worker may be lost by chance, or by whoever stops processes here.
const LOSSES: u32 = 2;
/// Of a stream at which that many were lost.
const REST: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "lab_tests.rs"]
mod tests;
