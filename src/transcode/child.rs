//! A worker process as its parent sees it: started, spoken to over its standard input, its messages taken, its log lines
//! passed on, killed and reaped. Never decides when.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use super::wire::{FromWorker, ToWorker};

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Program {
    /// This program's own file.
    pub path: PathBuf,
    /// Where GStreamer keeps what it knows of its plugins, so that a worker need not look at all of them; None: where the
    /// environment says.
    pub registry: Option<PathBuf>,
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Worker {
    to: mpsc::Sender<ToWorker>,
    from: mpsc::Receiver<FromWorker>,
    pid: Option<u32>,
}

/// The worker takes nothing more for now, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// Messages on their way to a worker: five seconds of a source with 60 pictures a second and sound, and what a rung needs
/// to start.
const OUTBOX: usize = 2_048;
/// Messages on their way from a worker. When it is full the worker waits, and drops pictures in the end.
const INBOX: usize = 512;
/// Bytes of one line of a worker's log that are passed on.
const LINE: usize = 1_000;
/// A worker that was told to end by the end of its input has this long before it is killed.
const FAREWELL: Duration = Duration::from_millis(500);

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("worker").kill_on_drop(true);
        command.envs(self.registry.iter().map(|path| ("GST_REGISTRY", path)));
        command
    }

    /// Lets a worker find out what this machine can encode; its answer as JSON. Looks at every plugin again.
    /// `preset`: x264's, which decides on the profile that it writes.
    pub(super) async fn probe(&self, preset: &str) -> io::Result<Vec<u8>> {
        let mut command = self.command();
        command.args(["--probe", preset]).stdin(Stdio::null()).stderr(Stdio::null());
        let output = tokio::time::timeout(PROBE, command.output()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other(output.status.to_string())) }
    }

    /// Starts a worker. `name`: for log lines.
    pub(super) fn start(&self, name: &str) -> io::Result<Worker> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = self.command();
        command.env("GST_REGISTRY_UPDATE", "no");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        let (to, outbox) = mpsc::channel(OUTBOX);
        let (inbox, from) = mpsc::channel(INBOX);
        let pid = child.id();
        if let Some(lines) = child.stderr.take() {
            tokio::spawn(pass_on(lines, name.to_owned()));
        }
        tokio::spawn(speak(write, outbox));
        tokio::spawn(listen(read, inbox, child));
        Ok(Worker { to, from, pid })
    }
}

/// A first look at all plugins takes seconds on a slow disk.
const PROBE: Duration = Duration::from_secs(60);

impl Worker {
    /// Puts a message on its way; never waits.
    pub(super) fn send(&self, message: ToWorker) -> Result<(), Refused> {
        self.to.try_send(message).map_err(|_| Refused)
    }

    /// As [`Worker::next`], for hand-written futures.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<FromWorker>> {
        self.from.poll_recv(cx)
    }

    /// The next message; None when it is gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<FromWorker> {
        self.from.recv().await
    }

    /// Bytes of memory it holds.
    pub(super) fn memory(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.pid?)).ok()?;
        let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// Its process id, for the operator.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }
}

/// Writes until there is nothing more to come; then the worker reads the end of its input.
async fn speak(mut write: OwnedWriteHalf, mut outbox: mpsc::Receiver<ToWorker>) {
    let mut buffer = BytesMut::new();
    while let Some(message) = outbox.recv().await {
        message.write(&mut buffer);
        while buffer.len() < BATCH
            && let Ok(message) = outbox.try_recv()
        {
            message.write(&mut buffer);
        }
        if write.write_all_buf(&mut buffer).await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

/// Reads until the worker is gone or nobody listens, then sees to it that it is gone, and reaps it.
async fn listen(mut read: OwnedReadHalf, inbox: mpsc::Sender<FromWorker>, mut child: Child) {
    let mut buffer = BytesMut::with_capacity(BATCH);
    tokio::select! {
        () = inbox.closed() => {}
        () = take(&mut read, &mut buffer, &inbox) => {}
    }
    if tokio::time::timeout(FAREWELL, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

async fn take(read: &mut OwnedReadHalf, buffer: &mut BytesMut, inbox: &mpsc::Sender<FromWorker>) {
    loop {
        match FromWorker::read(buffer) {
            Ok(Some(message)) => {
                if inbox.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                buffer.reserve(BATCH);
                if !matches!(read.read_buf(buffer).await, Ok(1..)) {
                    return;
                }
            }
            Err(garbled) => {
                tracing::error!(%garbled, "a worker is ended");
                return;
            }
        }
    }
}

/// What a worker writes to its standard error becomes lines of this log.
async fn pass_on(lines: ChildStderr, name: String) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(mut line)) = lines.next_line().await {
        let end = (0..=LINE.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        tracing::warn!(worker = %name, "{line}");
    }
}
