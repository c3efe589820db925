//! One thread of a listener: accepts connections, gives each its task, and looks once per tick who is overdue. A
//! connection never leaves the thread that accepted it.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Full, Manner, Respond};
use super::counters::{Counters, Places};
use super::pulse::{Clock, Patience, Pulse};
use super::settings::Settings;
use super::signalling::Ends;
use crate::current::Current;

/// The threads of one listener. Dropping it ends them at once.
#[derive(Debug)]
pub(super) struct Crew {
    stop: CancellationToken,
    kill: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    /// Ends when every thread has let go of its sender.
    over: mpsc::Receiver<()>,
}

/// What the threads of a listener have in shared.
pub(super) struct Shared<R> {
    pub(super) manner: Manner,
    pub(super) respond: R,
    pub(super) places: Arc<Places>,
    pub(super) counters: Arc<Counters>,
}

impl Crew {
    /// Starts one thread for each pair of sockets: plain and TLS.
    pub(super) fn start<R: Respond>(
        name: &str,
        settings: &Current<Settings>,
        shared: Shared<R>,
        sockets: Vec<(StdListener, Option<StdListener>)>,
    ) -> io::Result<Crew> {
        let (alive, over) = mpsc::channel(1);
        let mut crew = Crew { stop: CancellationToken::new(), kill: CancellationToken::new(), threads: vec![], over };
        let shared = Arc::new(shared);
        for (index, (plain, secure)) in sockets.into_iter().enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let worker = Worker::new(&runtime, settings, shared.clone(), plain, secure, &crew)?;
            let alive = alive.clone();
            crew.threads.push(std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
                runtime.block_on(worker.run());
                // The tasks that did not end in time go with their runtime, before the thread says it is over.
                drop(runtime);
                drop(alive);
            })?);
        }
        Ok(crew)
    }

    /// Takes no new connection, lets requests in flight finish, and ends; at the deadline, come what may. True if nothing
    /// had to be cut off.
    pub(super) async fn drain(mut self, deadline: Duration) -> bool {
        self.stop.cancel();
        let finished = tokio::time::timeout(deadline, self.over.recv()).await.is_ok();
        self.kill.cancel();
        self.over.recv().await;
        finished
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

struct Worker<R> {
    shared: Arc<Shared<R>>,
    plain: Option<TcpListener>,
    secure: Option<TcpListener>,
    stop: CancellationToken,
    kill: CancellationToken,
    tick: Duration,
    clock: Clock,
    changes: watch::Receiver<Arc<Settings>>,
    roster: Vec<Weak<Pulse>>,
    tasks: TaskTracker,
    /// Connections that are being told that there is no room.
    refusals: Arc<Places>,
    /// Whether the last accept failed for want of descriptors; so it is logged when it begins, not each time.
    starved: bool,
}

impl<R: Respond> Worker<R> {
    fn new(
        runtime: &Runtime,
        settings: &Current<Settings>,
        shared: Arc<Shared<R>>,
        plain: StdListener,
        secure: Option<StdListener>,
        crew: &Crew,
    ) -> io::Result<Worker<R>> {
        let _entered = runtime.enter();
        let mut changes = settings.follow();
        let settings = changes.borrow_and_update().clone();
        let tick = tick(&settings);
        Ok(Worker {
            shared,
            plain: Some(TcpListener::from_std(plain)?),
            secure: secure.map(TcpListener::from_std).transpose()?,
            stop: crew.stop.clone(),
            kill: crew.kill.clone(),
            tick,
            clock: Clock::new(patience(&settings, tick)),
            changes,
            roster: Vec::new(),
            tasks: TaskTracker::new(),
            refusals: Places::new(MOST_REFUSALS),
            starved: false,
        })
    }

    async fn run(mut self) {
        let mut ticks = interval(self.tick);
        let stop = self.stop.clone();
        let mut stopped = std::pin::pin!(stop.cancelled());
        loop {
            let (accepted, secure) = tokio::select! {
                biased;
                () = &mut stopped => break,
                _ = ticks.tick() => {
                    self.sweep();
                    if self.heed() {
                        ticks = interval(self.tick);
                    }
                    continue;
                }
                accepted = accept(self.plain.as_ref()) => (accepted, false),
                accepted = accept(self.secure.as_ref()) => (accepted, true),
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, secure),
                Err(error) => self.pause(error).await,
            }
        }
        self.finish(ticks).await;
    }

    /// Takes on other waits, where there are any. True if ticks are shorter from now on. They never grow longer: what was
    /// counted in short ones would pass for a long time.
    fn heed(&mut self) -> bool {
        if !self.changes.has_changed().unwrap_or(false) {
            return false;
        }
        let settings = self.changes.borrow_and_update().clone();
        let before = self.tick;
        self.tick = self.tick.min(tick(&settings));
        self.clock.set_patience(patience(&settings, self.tick));
        self.tick < before
    }

    /// Gives a connection its task, or tells it that there is no room.
    fn admit(&mut self, stream: TcpStream, secure: bool) {
        self.starved = false;
        // An answer's last piece must not wait for the acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let ends = stream.peer_addr().ok().zip(stream.local_addr().ok()).map(|(peer, local)| Ends { peer, local });
        let pulse = Pulse::new(self.clock.clone(), ends);
        let shared = self.shared.clone();
        let Some(place) = shared.places.take(&shared.counters.connections) else {
            return self.refuse(stream, secure, pulse);
        };
        self.roster.push(Arc::downgrade(&pulse));
        self.tasks.spawn(async move {
            shared.manner.serve(stream, secure, pulse, shared.respond.clone()).await;
            drop(place);
        });
    }

    /// A short answer in a short time, for so many at once; for more there is none.
    fn refuse(&self, stream: TcpStream, secure: bool, pulse: Arc<Pulse>) {
        self.shared.counters.refused.increment(1);
        let Some(place) = self.refusals.take(&metrics::Gauge::noop()) else { return };
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let told = shared.manner.serve(stream, secure, pulse, Full);
            // Who does not ask in time is not told.
            let _ = tokio::time::timeout(REFUSAL, told).await;
            drop(place);
        });
    }

    /// One tick: who is overdue is ended, who is gone is forgotten.
    fn sweep(&mut self) {
        self.clock.advance();
        let counters = &self.shared.counters;
        self.roster.retain(|pulse| {
            let Some(pulse) = pulse.upgrade() else { return false };
            if let Some(why) = pulse.sweep() {
                counters.overdue(why);
            }
            true
        });
    }

    /// After a failed accept. A peer that went away is nothing; without descriptors only time helps.
    async fn pause(&mut self, error: io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if !std::mem::replace(&mut self.starved, true) {
            tracing::warn!(%error, "cannot accept connections; raise the limit of open files if this lasts");
        }
        tokio::time::sleep(PAUSE).await;
    }

    async fn finish(mut self, mut ticks: tokio::time::Interval) {
        (self.plain, self.secure) = (None, None);
        for pulse in self.roster.iter().filter_map(Weak::upgrade) {
            pulse.drain();
        }
        self.tasks.close();
        let (tasks, kill) = (self.tasks.clone(), self.kill.clone());
        let mut over = std::pin::pin!(tasks.wait());
        let mut killed = std::pin::pin!(kill.cancelled());
        loop {
            tokio::select! {
                () = &mut over => return,
                () = &mut killed => return,
                _ = ticks.tick() => self.sweep(),
            }
        }
    }
}

/// How often connections are looked at, so that the shortest wait is kept within a quarter of it.
fn tick(settings: &Settings) -> Duration {
    let shortest = settings.header_timeout.min(settings.idle_timeout).min(settings.write_timeout);
    (shortest / 4).clamp(SHORTEST_TICK, LONGEST_TICK)
}

fn patience(settings: &Settings, tick: Duration) -> Patience {
    let ticks = |time: Duration| u32::try_from(time.as_nanos().div_ceil(tick.as_nanos())).unwrap_or(u32::MAX);
    let write = ticks(settings.write_timeout);
    Patience {
        header: ticks(settings.header_timeout),
        idle: ticks(settings.idle_timeout),
        write,
        answer: write.saturating_mul(WRITES_PER_ANSWER),
    }
}

fn interval(tick: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, std::net::SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// A thread looks over its connections this often at least; short time-outs make it look more often.
const LONGEST_TICK: Duration = Duration::from_secs(1);
const SHORTEST_TICK: Duration = Duration::from_millis(10);
/// Write time-outs that taking a whole answer may last. A peer slower than that cannot follow a live stream.
const WRITES_PER_ANSWER: u32 = 4;
/// Connections at a time, for one thread, that are told why they are refused.
const MOST_REFUSALS: usize = 32;
/// How long telling one may take.
const REFUSAL: Duration = Duration::from_secs(2);
/// After an accept that failed for want of descriptors: long enough for some connection to end.
const PAUSE: Duration = Duration::from_millis(50);
