//! A picture of each live stream every few seconds, for posters and the operator: the newest key frame, decoded by one
//! worker process for all streams. Never touches a frame of the ladder.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Settings;
use super::child::Worker;
use super::wire::{FromWorker, Setup, StillOrder, ToWorker};
use crate::hub::{From, Hub, Stream, StreamState};
use crate::media::{Frame, Kind};

/// Makes stills of every live stream while they are wanted, for ever.
pub(super) async fn run(hub: Hub, mut settings: watch::Receiver<Arc<Settings>>) {
    loop {
        let wanted = settings.borrow_and_update().clone();
        let what = |settings: &Settings| (settings.stills, settings.still_width, settings.nice);
        tokio::select! {
            changed = settings.wait_for(|settings| what(settings) != what(&wanted)) => if changed.is_err() { return },
            () = rounds(&hub, &wanted) => {}
        }
    }
}

/// Never ends.
async fn rounds(hub: &Hub, settings: &Settings) {
    let Some(interval) = settings.stills else { return std::future::pending().await };
    let mut studio = Studio { settings, worker: None, last: 0 };
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let live = hub.streams().into_iter().filter(|stream| stream.state() == StreamState::Live);
        let live: Vec<Arc<Stream>> = live.collect();
        if live.is_empty() {
            // A worker that nobody needs keeps no memory.
            studio.worker = None;
        }
        for stream in live {
            let Some(frame) = newest_key_frame(&stream).await else { continue };
            if let Some(jpeg) = studio.picture(frame).await {
                stream.set_still(jpeg);
            }
        }
    }
}

/// A worker, and the number of the last order.
struct Studio<'a> {
    settings: &'a Settings,
    worker: Option<Worker>,
    last: u64,
}

impl Studio<'_> {
    /// None: it could not be decoded, or not in time.
    async fn picture(&mut self, frame: Frame) -> Option<Bytes> {
        self.last += 1;
        let id = self.last;
        let order = StillOrder {
            id,
            config: (*frame.config).clone(),
            payload: frame.payload,
            width: self.settings.still_width,
        };
        let asked = Instant::now();
        let answer = match self.worker() {
            Some(worker) if worker.send(ToWorker::Still(order)).is_ok() => timeout(PATIENCE, answer(worker, id)).await,
            _ => return None,
        };
        metrics::histogram!(crate::metrics::STILLS_TIME).record(asked.elapsed().as_secs_f64());
        match answer {
            Ok(Some(jpeg)) => Some(jpeg).filter(|jpeg| !jpeg.is_empty()),
            // Gone or stuck: the next picture gets another worker.
            Ok(None) | Err(_) => {
                metrics::counter!(crate::metrics::STILLS_FAILED).increment(1);
                self.worker = None;
                None
            }
        }
    }

    fn worker(&mut self) -> Option<&mut Worker> {
        if self.worker.is_none() {
            let worker = self.settings.program.start("stills");
            let worker =
                worker.inspect_err(|error| tracing::error!(%error, "cannot start a worker for stills")).ok()?;
            let setup = Setup {
                stream: "stills".to_owned(),
                encoders: Vec::new(),
                preset: String::new(),
                nice: self.settings.nice,
            };
            worker.send(ToWorker::Setup(setup)).ok()?;
            self.worker = Some(worker);
        }
        self.worker.as_mut()
    }
}

async fn answer(worker: &mut Worker, id: u64) -> Option<Bytes> {
    loop {
        if let FromWorker::Still(still) = worker.next().await?
            && still.id == id
        {
            return Some(still.jpeg);
        }
    }
}

/// None: the stream has none, or is over.
async fn newest_key_frame(stream: &Stream) -> Option<Frame> {
    let mut cursor = stream.frames().cursor(From::NewestStart);
    let found = async {
        loop {
            let frame = cursor.next().await.ok()??;
            if frame.kind() == Kind::Video && frame.key {
                return Some(frame);
            }
        }
    };
    timeout(AT_HAND, found).await.ok()?
}

/// The newest start is in the log, if there is any; a log without pictures is not waited for.
const AT_HAND: Duration = Duration::from_millis(50);
/// For one picture, the start of the worker included.
const PATIENCE: Duration = Duration::from_secs(5);
