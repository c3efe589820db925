//! Log lines: which are written, how they look, and a queue in front of standard error. `main` sets it up once; everybody
//! else uses the macros of `tracing`. A reader of standard error that stalls (a pager, a stuck log collector) must never
//! hold a media task, so lines are handed to a thread of their own, and lost and counted where it cannot keep up.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::metrics;

/// Writes what passes the filter (`info,headwater::rtmp=debug`) to standard error, with the fields of the spans around it.
/// Lines are written until the answer is dropped.
///
/// `auto` is text everywhere, for people read container logs and journals too; colours are for terminals.
pub fn init(filter: &str, format: LogFormat) -> Result<Logging, Error> {
    let filter = EnvFilter::try_new(filter).map_err(|_| Error::Filter(filter.to_owned()))?;
    let (lines, logging) = Lines::start(io::stderr(), format).map_err(Error::Thread)?;
    let colour = format == LogFormat::Auto && io::stderr().is_terminal();
    subscriber(filter, format, colour, lines).try_init().map_err(|_| Error::Twice)?;
    Ok(logging)
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is none; its text is that of `log.level`.
    #[error("log.level: {0:?} cannot be understood; write it as info, or as info,headwater::rtmp=debug")]
    Filter(String),
    /// The system has no thread to spare.
    #[error("cannot start a thread for log lines: {0}")]
    Thread(io::Error),
    /// Somebody was here before.
    #[error("logging was set up twice")]
    Twice,
}

/// Keeps lines flowing. When it is dropped, what was logged before is still written, for a bounded time.
#[derive(Debug)]
pub struct Logging {
    queue: SyncSender<Message>,
}

impl Drop for Logging {
    fn drop(&mut self) {
        let (written, answer) = sync_channel(1);
        let step = LAST_LINES / 100;
        for _ in 0..100 {
            if self.queue.try_send(Message::Flush(written.clone())).is_ok() {
                let _ = answer.recv_timeout(LAST_LINES);
                return;
            }
            // The process ends here: no runtime is left to wait with, and no media to hold up.
            #[allow(clippy::disallowed_methods)]
            thread::sleep(step);
        }
    }
}

fn subscriber(filter: EnvFilter, format: LogFormat, colour: bool, lines: Lines) -> Dispatch {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines.clone());
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).finish().into(),
        // Left alone it is coloured, unless NO_COLOR forbids it.
        LogFormat::Auto if colour => subscriber.finish().into(),
        LogFormat::Auto | LogFormat::Text => subscriber.with_ansi(false).finish().into(),
    }
}

/// The way into the queue. `tracing` writes each line whole, with one call.
#[derive(Clone, Debug)]
struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn start(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<(Lines, Logging)> {
        let (queue, messages) = sync_channel(QUEUE);
        let lines = Lines { queue: queue.clone(), lost: Arc::default() };
        let lost = lines.lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&messages, &lost, format, out))?;
        Ok((lines, Logging { queue }))
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            ::metrics::counter!(metrics::LOG_LINES_LOST).increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Message {
    Line(Box<[u8]>),
    /// Answers once everything before it is written.
    Flush(SyncSender<()>),
}

/// The log thread. An error of the output is nothing that anybody could be told about.
fn write_all(messages: &Receiver<Message>, lost: &AtomicU64, format: LogFormat, mut out: impl Write) {
    for message in messages {
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Flush(written) => {
                let _ = out.flush();
                let _ = written.try_send(());
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let said = "log lines were lost because standard error stalled";
            let _ = match format {
                LogFormat::Json => writeln!(out, "{{\"level\":\"WARN\",\"message\":\"{said}\",\"count\":{missing}}}"),
                LogFormat::Auto | LogFormat::Text => writeln!(out, "WARN {said} count={missing}"),
            };
        }
    }
}

/// Lines that wait for standard error. A burst from a thousand sessions fits; at some 200 bytes each it is below 1 MiB.
const QUEUE: usize = 4_096;

/// How long the end of the process waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::Mutex;

    /// An output that can be looked at, and held up.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one event inside of a span looks like.
    fn logged(filter: &str, format: LogFormat) -> String {
        let page = Page::default();
        let (lines, logging) = Lines::start(page.clone(), format).unwrap();
        tracing::dispatcher::with_default(&subscriber(EnvFilter::new(filter), format, false, lines), || {
            let _span = tracing::info_span!("session", stream = "show").entered();
            tracing::info!(bytes = 7, "closed");
            tracing::debug!("detail");
        });
        drop(logging);
        page.text()
    }

    #[test]
    fn text_has_the_fields_of_the_span_and_no_colours() {
        let text = logged("info", LogFormat::Text);
        assert!(text.contains("INFO session{stream=\"show\"}: headwater::logging::tests: closed bytes=7\n"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = logged("info,headwater::logging=debug", LogFormat::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "closed");
        assert_eq!(lines[0]["bytes"], 7);
        assert_eq!(lines[0]["spans"][0]["stream"], "show");
    }

    #[test]
    fn an_output_that_stalls_holds_nobody_and_losses_are_told() {
        let page = Page::default();
        let (mut lines, logging) = Lines::start(page.clone(), LogFormat::Text).unwrap();
        let held = page.0.lock().unwrap();
        // One line may be on its way to the output already.
        for _ in 0..QUEUE + 6 {
            lines.write_all(b"line\n").unwrap();
        }
        assert!(lines.lost.load(Ordering::Relaxed) >= 5);
        drop(held);
        drop(logging);
        let text = page.text();
        assert!(text.contains("log lines were lost"), "{text}");
        assert!(text.lines().filter(|line| *line == "line").count() >= QUEUE);
    }
}
