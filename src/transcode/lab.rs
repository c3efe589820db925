//! Looks into live streams every few seconds: a still picture of each, and how loud it is. One worker process decodes both
//! for all streams, one thing at a time, so that nothing piles up; one that dies or hangs costs the answer it was asked for.
//! Never touches a frame of the ladder.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, timeout};

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

/// A worker, and the number of the last order.
pub(super) struct Lab {
    program: Program,
    nice: i32,
    worker: Option<Worker>,
    last: u64,
}

impl Lab {
    pub(super) fn new(program: Program, nice: i32) -> Lab {
        Lab { program, nice, worker: None, last: 0 }
    }

    /// Has the worker do something, and waits for the answer that has the order's number. None: there is none, and the next
    /// order gets another worker.
    pub(super) async fn ask<T>(
        &mut self,
        order: impl FnOnce(u64) -> ToWorker,
        read: impl Fn(FromWorker) -> Option<(u64, T)>,
    ) -> Option<T> {
        self.last += 1;
        let id = self.last;
        let worker = self.worker()?;
        let answer = match worker.send(order(id)) {
            Ok(()) => timeout(PATIENCE, answer(worker, id, read)).await.ok().flatten(),
            Err(_) => None,
        };
        if answer.is_none() {
            self.worker = None;
        }
        answer
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

#[cfg(test)]
#[path = "lab_tests.rs"]
mod tests;
