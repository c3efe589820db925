//! The `whep` mode: WebRTC viewers of one stream, of any server that speaks WHEP. They decode nothing and open but a few
//! packets, so that one thread bears many of them. Arguments in, summary out:
//!
//! | file | owns |
//! |---|---|
//! | `viewer` | one viewer, from its offer to its leaving |
//! | `link`, `stun`, `dtls` | its transport |
//! | `signal`, `sdp` | offers and answers, and their way over HTTP |
//! | `track`, `tally` | what came, and the reports on it |
//! | `source` | a WHIP publisher whose pictures carry their time |
//! | `server` | what the server takes meanwhile |

mod dtls;
mod link;
mod sdp;
mod server;
mod signal;
mod source;
mod stun;
mod summary;
mod tally;
mod track;
mod viewer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::progress::Progress;
use crate::target::Target;
use dtls::Identity;
use sdp::Credentials;
use server::Sample;
use source::Clock;
use summary::{Server, Summary};
use tally::Tally;
use viewer::{Context, Leave, Stay};

/// Plays a stream as many WHEP viewers.
///
/// Each offers H.264 and Opus, connects to the first UDP candidate of this machine, counts what comes and sends reports as
/// browsers do. With --churn they come and go instead: one leaves by DELETE, the next by DTLS alone, the third without a word.
#[derive(Args, Clone, Debug)]
pub(crate) struct Whep {
    /// WHEP endpoint, such as http://127.0.0.1:8080/whep/show
    url: String,
    /// How many viewers; with --churn, how many at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    viewers: u32,
    /// How long the run takes, in seconds; with --churn, at most
    #[arg(long, default_value_t = 20.0, value_parser = crate::seconds)]
    seconds: f64,
    /// How many join each second
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    joins_per_second: f64,
    /// So many come and go
    #[arg(long)]
    churn: Option<u32>,
    /// With --churn: seconds from a viewer's first picture to its leaving
    #[arg(long, default_value_t = 0.1, value_parser = crate::seconds)]
    stay: f64,
    /// With --churn: seconds from the last leaving to the last look at the server
    #[arg(long, default_value_t = 0.0, value_parser = crate::seconds)]
    rest: f64,
    /// Process id of the server, whose processor time and memory are then said
    #[arg(long, value_name = "PID")]
    server: Option<u32>,
    /// WHIP endpoint to publish the stream to, with pictures whose way through the server every tenth viewer measures
    #[arg(long, value_name = "URL")]
    publish: Option<String>,
    /// Threads, each with its share of the viewers; 0 for one per core
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: u16,
}

/// Why a viewer saw nothing, or did not see it to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Failure {
    /// No HTTP connection, or no answer on it.
    #[error("connect")]
    Connect,
    /// Another status than WHEP has for it.
    #[error("status {0}")]
    Status(u16),
    /// An answer without what a session needs.
    #[error("answer")]
    Answer,
    /// No UDP candidate of this machine.
    #[error("candidate")]
    Candidate,
    /// No ICE or no DTLS in time.
    #[error("handshake")]
    Handshake,
    /// Connected, and no picture in time.
    #[error("silence")]
    Silence,
    /// The server ended the session.
    #[error("closed")]
    Closed,
    /// The server did not take the DELETE.
    #[error("delete")]
    Delete,
    /// The server stopped answering.
    #[error("consent")]
    Consent,
}

impl Whep {
    /// Runs to its end, or until interrupted.
    pub(crate) fn run(&self, allow_remote: bool) -> Outcome<Summary> {
        let target = Target::parse(&self.url, &["http"], allow_remote)?;
        // A socket and a connection for each viewer; with --churn, the sockets of those who left without a word too.
        let left = if self.churn.is_some() { self.joins_per_second * viewer::HAUNTED.as_secs_f64() / 3.0 } else { 0.0 };
        crate::descriptors::require(2 * u64::from(self.viewers) + left as u64)?;
        let source = self.publish.as_ref().map(|url| Source::start(url, allow_remote)).transpose()?;
        let run = Arc::new(Run {
            options: self.clone(),
            target,
            identity: Identity::new()?,
            allow_remote,
            clock: source.as_ref().map(|source| source.clock),
            progress: Arc::default(),
            next: AtomicU32::new(0),
            started: Instant::now(),
            stop: CancellationToken::new(),
        });
        let before = self.server.and_then(server::look);
        let threads = self.threads();
        let mut workers = Vec::new();
        for thread in 0..threads + u32::from(run.clock.is_some()) {
            let run = run.clone();
            let work = move || run.play(thread, threads);
            workers.push(std::thread::Builder::new().name(format!("viewers-{thread}")).spawn(work)?);
        }
        let (steady, halfway) = run.watch(&workers)?;
        let mut sum = Tally::new();
        for worker in workers {
            sum.add(&worker.join().map_err(|_| "a worker thread died")??);
        }
        let took = run.started.elapsed();
        rest(Duration::from_secs_f64(self.rest))?;
        let after = self.server.and_then(server::look);
        if let Some(source) = source {
            source.stop()?;
        }
        let server = before.zip(after).map(|(before, after)| Server { before, steady, halfway, after });
        Ok(Summary::new(self, &sum, took, server))
    }

    fn threads(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = if self.threads == 0 { u32::try_from(cores).unwrap_or(1) } else { u32::from(self.threads) };
        wanted.min(self.viewers)
    }

    /// Seconds until all have begun to join.
    fn ramp(&self) -> f64 {
        f64::from(self.viewers) / self.joins_per_second
    }
}

/// The server and the viewers, at a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    server: Sample,
    packets: u64,
    bytes: u64,
    viewers: u64,
}

/// What all threads of a run share.
struct Run {
    options: Whep,
    target: Target,
    identity: Identity,
    allow_remote: bool,
    clock: Option<Clock>,
    progress: Arc<Progress>,
    /// Number of the next viewer that comes and goes.
    next: AtomicU32,
    started: Instant,
    stop: CancellationToken,
}

impl Run {
    /// The viewers of one thread, until all have left. Where the way through the server is measured, one thread more has the
    /// viewers that look at the time, so that these do not wait for the others.
    fn play(self: Arc<Self>, thread: u32, threads: u32) -> std::io::Result<Tally> {
        let is_timing = thread == threads;
        let context = Rc::new(Context {
            target: self.target.clone(),
            identity: self.identity.clone(),
            allow_remote: self.allow_remote,
            progress: self.progress.clone(),
            clock: self.clock.filter(|_| is_timing),
            tally: RefCell::new(Tally::new()),
        });
        let runtime = crate::runtime()?;
        let (run, shared) = (self.clone(), context.clone());
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let mut viewers = tokio::task::JoinSet::new();
            for number in (0..run.options.viewers).filter(|number| run.seat(*number, threads) == thread) {
                let (run, context) = (run.clone(), shared.clone());
                viewers.spawn_local(async move {
                    if run.options.churn.is_some() {
                        run.come_and_go(&context).await;
                    } else {
                        run.wait_turn(number).await;
                        run.count(&context, viewer::visit(&context, Stay::Until(run.deadline()), Leave::Delete).await);
                    }
                });
            }
            tokio::select! {
                () = async { while viewers.join_next().await.is_some() {} } => {}
                () = run.stop.cancelled() => {}
            }
        });
        Ok(context.tally.replace(Tally::new()))
    }

    /// The thread of a viewer.
    fn seat(&self, number: u32, threads: u32) -> u32 {
        if self.clock.is_some() && number.is_multiple_of(TIMED) { threads } else { number % threads.max(1) }
    }

    async fn come_and_go(&self, context: &Context) {
        let (total, stay) = (self.options.churn.unwrap_or(0), Duration::from_secs_f64(self.options.stay));
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= total || Instant::now() >= self.deadline() {
                return;
            }
            self.wait_turn(number).await;
            let leave = [Leave::Delete, Leave::Close, Leave::Vanish][number as usize % 3];
            self.count(context, viewer::visit(context, Stay::For(stay), leave).await);
        }
    }

    async fn wait_turn(&self, number: u32) {
        let turn = Duration::from_secs_f64(f64::from(number) / self.options.joins_per_second);
        tokio::time::sleep_until((self.started + turn).into()).await;
    }

    fn deadline(&self) -> Instant {
        self.started + Duration::from_secs_f64(self.options.seconds)
    }

    fn count(&self, context: &Context, visited: Result<(), Failure>) {
        let mut tally = context.tally.borrow_mut();
        match visited {
            Ok(()) => tally.left += 1,
            Err(failure) => {
                *tally.failures.entry(failure).or_default() += 1;
                Progress::add(&self.progress.failed, 1);
            }
        }
    }

    /// Shows how it goes, and looks at the server where all have joined and a moment before they leave.
    fn watch<T>(&self, workers: &[JoinHandle<T>]) -> Outcome<(Option<Mark>, Option<Mark>)> {
        let length = Duration::from_secs_f64(self.options.seconds);
        let settled = Duration::from_secs_f64(self.options.ramp()) + SETTLE;
        let (mut steady, mut last) = (None, None);
        crate::runtime()?.block_on(async {
            let looks = async {
                while workers.iter().any(|worker| !worker.is_finished()) {
                    tokio::time::sleep(LOOK).await;
                    let passed = self.started.elapsed();
                    if steady.is_none() && passed >= settled {
                        steady = self.mark();
                    } else if steady.is_some() && passed + LOOK * 3 < length {
                        last = self.mark();
                    }
                }
            };
            tokio::select! {
                () = looks => {}
                () = self.progress.watch("viewing", length + PATIENCE, &self.stop) => {}
            }
        });
        Ok((steady, last))
    }

    fn mark(&self) -> Option<Mark> {
        let server = server::look(self.options.server?)?;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let Progress { items, bytes, active, .. } = &*self.progress;
        Some(Mark { at: Instant::now(), server, packets: read(items), bytes: read(bytes), viewers: read(active) })
    }
}

/// The publisher's thread.
struct Source {
    clock: Clock,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Source {
    /// Publishes; returns once the server has the stream.
    fn start(url: &str, allow_remote: bool) -> Outcome<Source> {
        let target = Target::parse(url, &["http"], allow_remote)?;
        let (clock, runtime) = (Clock::new(), crate::runtime()?);
        let (live, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (live.clone(), stop.clone());
        let work = move || runtime.block_on(source::publish(&target, clock, (&flags.0, &flags.1), allow_remote));
        let thread = std::thread::Builder::new().name("publisher".to_owned()).spawn(work)?;
        while !live.load(Ordering::Relaxed) && !thread.is_finished() {
            rest(LOOK)?;
        }
        let source = Source { clock, stop, thread };
        if source.thread.is_finished() {
            source.stop()?;
            return Err("the publisher ended before it began".into());
        }
        // Until its first group of pictures is in.
        rest(SETTLE)?;
        Ok(source)
    }

    fn stop(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().map_err(|_| "the publisher's thread died")?;
        ended.map_err(|failure| format!("publishing failed: {failure}").into())
    }
}

/// Fresh ones, for a session.
fn credentials(identity: &Identity) -> Result<Credentials, Failure> {
    let mut bytes = [0; 16];
    identity.provider().random().fill(&mut bytes).map_err(|_| Failure::Handshake)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (fragment, password) = text.split_at(8);
    Ok(Credentials { fragment: fragment.to_owned(), password: password.to_owned() })
}

fn rest(time: Duration) -> std::io::Result<()> {
    crate::runtime()?.block_on(async { tokio::time::sleep(time).await });
    Ok(())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=10_000.0).contains(&value) => Ok(value),
        _ => Err("a number from 0.1 to 10000".to_owned()),
    }
}

/// One viewer in so many looks at the time.
const TIMED: u32 = 10;
/// From the last join to the first look at the server.
const SETTLE: Duration = Duration::from_secs(2);
/// Between looks at the server.
const LOOK: Duration = Duration::from_millis(100);
/// So long viewers may take to leave.
const PATIENCE: Duration = Duration::from_secs(40);
