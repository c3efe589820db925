//! The worker processes of one ladder: one at work, and while another takes over from it, two. Feeds them the source's
//! frames, notices when one hangs, grows or dies, and starts the next, not too often. Knows nothing of rungs.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::child::{Program, Refused, Worker};
use super::tracks::Generation;
use super::wire::{FromWorker, Make, Order, Setup, SourceCut, SourceFrame, ToWorker};
use crate::media::{Config, Frame, Kind};

/// What came from which worker; no message: it is gone.
pub(super) struct News {
    pub(super) from: Generation,
    pub(super) message: Option<FromWorker>,
}

/// The workers.
pub(super) struct Crew {
    program: Program,
    setup: Setup,
    most_memory: u64,
    /// The oldest first.
    runners: Vec<Runner>,
    newest: Generation,
    restarts: u64,
    /// Workers in a row that were gone soon.
    failures: u32,
    not_before: Option<Instant>,
}

struct Runner {
    generation: Generation,
    worker: Worker,
    started: Instant,
    heard: Option<Instant>,
    /// What it knows of the source's tracks.
    configs: [Option<Arc<Config>>; 2],
    /// It could not take a frame: pictures go on with the next key frame.
    resync: bool,
    pictures: bool,
    sound: bool,
}

/// A worker says something four times a second; after so long a silence it hangs.
const SILENCE: Duration = Duration::from_millis(1_500);
/// The same before its first word, while it loads its libraries.
const START: Duration = Duration::from_secs(10);
/// A worker that is gone sooner than this has failed.
const SOON: Duration = Duration::from_secs(10);
/// The wait after the second failure in a row; it doubles with every further one.
const WAIT: Duration = Duration::from_millis(500);
const MOST_DOUBLINGS: u32 = 6;
/// After a start, the backlog has been worked off by then.
const SETTLED: Duration = Duration::from_secs(6);

impl Crew {
    pub(super) fn new(program: Program, setup: Setup, most_memory: u64) -> Crew {
        Crew { program, setup, most_memory, runners: Vec::new(), newest: 0, restarts: 0, failures: 0, not_before: None }
    }

    /// Starts another worker, which makes these rungs from the backlog on. One that is at work goes on until
    /// [`Crew::keep_newest`]; one that was about to take over is replaced.
    pub(super) fn start(&mut self, now: Instant, orders: Vec<Order>, backlog: &Backlog) -> io::Result<()> {
        self.runners.truncate(1);
        self.newest += 1;
        let worker = self.program.start(&self.setup.stream).inspect_err(|_| self.fail(now))?;
        let mut runner = Runner {
            generation: self.newest,
            worker,
            started: now,
            heard: None,
            configs: [None, None],
            resync: false,
            pictures: false,
            sound: false,
        };
        // A new queue has room for these.
        let _ = runner.worker.send(ToWorker::Setup(self.setup.clone()));
        runner.order(orders);
        backlog.frames().for_each(|frame| runner.feed(frame));
        self.runners.push(runner);
        Ok(())
    }

    /// Tells the newest worker which rungs are wanted from now on, and all older ones too.
    pub(super) fn order(&mut self, orders: Vec<Order>) {
        self.runners.iter_mut().for_each(|runner| runner.order(orders.clone()));
    }

    /// The next frame of the source.
    pub(super) fn feed(&mut self, frame: &Frame) {
        self.runners.iter_mut().for_each(|runner| runner.feed(frame));
    }

    /// What a worker says next; waits for ever while there is none. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        let news = std::future::poll_fn(|cx| {
            for runner in &mut self.runners {
                if let Poll::Ready(message) = runner.worker.poll_next(cx) {
                    return Poll::Ready(News { from: runner.generation, message });
                }
            }
            Poll::Pending
        })
        .await;
        let now = Instant::now();
        let place = self.runners.iter().position(|runner| runner.generation == news.from);
        match (place, &news.message) {
            (Some(place), Some(_)) => self.runners[place].heard = Some(now),
            (Some(place), None) => self.lose(place, now),
            (None, _) => {}
        }
        news
    }

    /// Kills a worker that hangs or holds too much memory; says what it did.
    pub(super) fn check(&mut self, now: Instant) -> Option<String> {
        let most = self.most_memory;
        let (place, why) = self.runners.iter().enumerate().find_map(|(place, runner)| {
            let (since, patience) = runner.heard.map_or((runner.started, START), |heard| (heard, SILENCE));
            let silence = now.saturating_duration_since(since);
            let memory = runner.worker.memory().unwrap_or(0);
            if silence > patience {
                Some((place, format!("a worker has said nothing for {silence:?}; another takes its place")))
            } else if memory > most {
                let mib = memory >> 20;
                Some((
                    place,
                    format!("a worker holds {mib} MiB, more than transcode.worker_memory; another takes its place"),
                ))
            } else {
                None
            }
        })?;
        self.lose(place, now);
        Some(why)
    }

    /// All workers but the newest are no longer needed.
    pub(super) fn keep_newest(&mut self) {
        let newest = self.newest;
        self.runners.retain(|runner| runner.generation == newest);
    }

    /// No worker is needed.
    pub(super) fn dismiss(&mut self) {
        self.runners.clear();
        self.failures = 0;
        self.not_before = None;
    }

    pub(super) fn newest(&self) -> Generation {
        self.newest
    }

    pub(super) fn is_at_work(&self) -> bool {
        !self.runners.is_empty()
    }

    /// No worker has failed too recently.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|time| now >= time)
    }

    /// There is one worker, and it has worked off its backlog.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        matches!(&self.runners[..], [runner] if now.saturating_duration_since(runner.started) > SETTLED)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.runners.iter().filter_map(|runner| runner.worker.pid()).collect()
    }

    /// Bytes of memory that the workers hold.
    pub(super) fn memory(&self) -> u64 {
        self.runners.iter().filter_map(|runner| runner.worker.memory()).sum()
    }

    fn lose(&mut self, place: usize, now: Instant) {
        let runner = self.runners.remove(place);
        self.restarts += 1;
        if now.saturating_duration_since(runner.started) > SOON {
            self.failures = 0;
        }
        self.fail(now);
    }

    fn fail(&mut self, now: Instant) {
        self.failures += 1;
        let doublings = self.failures.saturating_sub(2).min(MOST_DOUBLINGS);
        // The first time there is no reason to wait.
        self.not_before = (self.failures > 1).then(|| now + WAIT * (1 << doublings));
    }
}

impl Runner {
    fn order(&mut self, orders: Vec<Order>) {
        self.pictures = orders.iter().any(|order| matches!(order.make, Make::Pictures { .. }));
        self.sound = orders.iter().any(|order| matches!(order.make, Make::Sound { .. }));
        if self.worker.send(ToWorker::Rungs(orders)).is_err() {
            // So far behind that it will be found slow, or gone.
            self.resync = true;
        }
    }

    fn feed(&mut self, frame: &Frame) {
        let pictures = frame.kind() == Kind::Video;
        if (pictures && !self.pictures) || (!pictures && !self.sound) {
            return;
        }
        if self.resync && !(pictures && frame.key) {
            return;
        }
        self.resync = self.offer(frame).is_err();
        if self.resync {
            metrics::counter!(crate::metrics::LADDER_SOURCE_DROPPED).increment(1);
        }
    }

    fn offer(&mut self, frame: &Frame) -> Result<(), Refused> {
        let known = &mut self.configs[usize::from(frame.kind() == Kind::Audio)];
        let same = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.config) || *known == frame.config);
        if !same {
            self.worker.send(ToWorker::Config((*frame.config).clone()))?;
            *known = Some(frame.config.clone());
        }
        self.worker.send(ToWorker::Frame(SourceFrame {
            kind: frame.kind(),
            dts: frame.dts,
            pts: frame.pts,
            key: frame.key,
            cut: frame.cut.map(|cut| SourceCut { at: cut.at, discontinuity: cut.discontinuity }),
            payload: frame.payload.clone(),
        }))
    }
}
