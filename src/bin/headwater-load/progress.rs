//! What the operator sees while the load runs: a bar on a terminal, nothing at all where standard error is a file or a
//! pipe. Workers add to plain counters; only the main thread draws.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

/// Live counters, shared by all workers of a run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Viewers that play, or publishers that publish.
    pub(crate) active: AtomicU64,
    /// Parts received, or messages sent.
    pub(crate) items: AtomicU64,
    /// Parts too late.
    pub(crate) late: AtomicU64,
    /// Requests or sessions that failed.
    pub(crate) failed: AtomicU64,
    /// Body bytes received, or media bytes sent.
    pub(crate) bytes: AtomicU64,
}

impl Progress {
    /// Adds to one of the counters.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Draws until `length` is over or `stop` is cancelled; an interrupt from the keyboard cancels it.
    pub(crate) async fn watch(&self, what: &'static str, length: Duration, stop: &CancellationToken) {
        let bar = bar(what, length);
        let started = Instant::now();
        let mut before = (started, 0);
        while started.elapsed() < length {
            tokio::select! {
                () = tokio::time::sleep(REDRAW) => {}
                () = stop.cancelled() => break,
                _ = tokio::signal::ctrl_c() => break,
            }
            let (now, bytes) = (Instant::now(), self.bytes.load(Ordering::Relaxed));
            let seconds = (now - before.0).as_secs_f64().max(0.001);
            let rate = (bytes - before.1) as f64 * 8.0 / seconds / 1e6;
            before = (now, bytes);
            bar.set_position(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
            bar.set_message(self.line(rate));
        }
        stop.cancel();
        bar.finish_and_clear();
    }

    fn line(&self, megabits: f64) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (active, items, late, failed) =
            (read(&self.active), read(&self.items), read(&self.late), read(&self.failed));
        format!("{active} active, {items} items, {late} late, {failed} failed, {megabits:.0} Mbit/s")
    }
}

fn bar(what: &'static str, length: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(millis), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {elapsed} of {duration}  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(250);
