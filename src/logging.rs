//! Log lines: which are written, how they look, and a queue in front of standard error. `main` sets it up once; everybody
//! else uses the macros of `tracing`. A reader of standard error that stalls (a pager, a stuck log collector) must never
//! hold a media task, so lines are handed to a thread of their own, and lost and counted where it cannot keep up.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::config::LogFormat;
use crate::metrics;

/// Writes what passes the filter (`info,headwater::rtmp=debug`) to standard error, with the fields of the spans around it.
/// Lines are written until the answer is dropped.
///
/// `auto` is text everywhere, for people read container logs and journals too; colours are for terminals.
pub fn init(filter: &str, format: LogFormat) -> Result<Logging, Error> {
    let filter = EnvFilter::try_new(filter).map_err(|_| Error::Filter(filter.to_owned()))?;
    let (lines, queue) = Lines::start(io::stderr(), format).map_err(Error::Thread)?;
    let (subscriber, tuning) = subscriber(filter, format, io::stderr().is_terminal(), lines);
    subscriber.try_init().map_err(|_| Error::Twice)?;
    Ok(Logging { queue, tuning })
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
    tuning: Tuning,
}

impl Logging {
    /// The way to change it.
    pub fn tuning(&self) -> Tuning {
        self.tuning.clone()
    }
}

/// Changes which lines are written and how they look, while they are being written. Cheap to clone.
#[derive(Clone)]
pub struct Tuning {
    apply: Arc<dyn Fn(EnvFilter, LogFormat) + Send + Sync>,
}

impl Tuning {
    /// Another filter and format, from the next line on. A filter that is none is left aside: `config` lets none through.
    pub fn apply(&self, filter: &str, format: LogFormat) {
        if let Ok(filter) = EnvFilter::try_new(filter) {
            (self.apply)(filter, format);
        }
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuning").finish_non_exhaustive()
    }
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

fn subscriber(filter: EnvFilter, format: LogFormat, terminal: bool, lines: Lines) -> (Dispatch, Tuning) {
    let (json, writer) = (lines.json.clone(), lines);
    let colours = move |format| terminal && format == LogFormat::Auto;
    let text = tracing_subscriber::fmt::layer().with_writer({
        let writer = writer.clone();
        move || writer.clone()
    });
    // Left alone it is coloured, unless NO_COLOR forbids it.
    let text = if colours(format) { text } else { text.with_ansi(false) };
    let objects = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    let objects = objects.with_writer(move || writer.clone());
    let (filter, filters) = reload::Layer::new(filter);
    let (text, texts) = reload::Layer::new(Shape { layer: text, is_json: false, json: json.clone() });
    let objects = Shape { layer: objects, is_json: true, json: json.clone() };
    let subscriber = tracing_subscriber::registry().with(filter).with(text).with(objects);
    let apply = move |filter, format| {
        json.store(format == LogFormat::Json, Ordering::Relaxed);
        // They fail only when the subscriber is gone, and with it all lines.
        let _ = texts.modify(|text| text.layer.set_ansi(colours(format)));
        let _ = filters.reload(filter);
    };
    (subscriber.into(), Tuning { apply: Arc::new(apply) })
}

/// One of the two ways that lines look. Both keep the fields of every span, so that a session that began before the format
/// was changed goes on to be named; only one writes.
struct Shape<L> {
    layer: L,
    is_json: bool,
    json: Arc<AtomicBool>,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Shape<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.json.load(Ordering::Relaxed) == self.is_json {
            self.layer.on_event(event, context);
        }
    }
}

/// The way into the queue. `tracing` writes each line whole, with one call.
#[derive(Clone, Debug)]
struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    /// Whether lines are JSON for now.
    json: Arc<AtomicBool>,
}

impl Lines {
    fn start(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<(Lines, SyncSender<Message>)> {
        let (queue, messages) = sync_channel(QUEUE);
        let json = Arc::new(AtomicBool::new(format == LogFormat::Json));
        let lines = Lines { queue: queue.clone(), lost: Arc::default(), json };
        let (lost, json) = (lines.lost.clone(), lines.json.clone());
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&messages, &lost, &json, out))?;
        Ok((lines, queue))
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
fn write_all(messages: &Receiver<Message>, lost: &AtomicU64, json: &AtomicBool, mut out: impl Write) {
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
            let _ = match json.load(Ordering::Relaxed) {
                true => writeln!(out, "{{\"level\":\"WARN\",\"message\":\"{said}\",\"count\":{missing}}}"),
                false => writeln!(out, "WARN {said} count={missing}"),
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
        let (lines, queue) = Lines::start(page.clone(), format).unwrap();
        let (subscriber, tuning) = subscriber(EnvFilter::new(filter), format, false, lines);
        let logging = Logging { queue, tuning };
        tracing::dispatcher::with_default(&subscriber, || {
            let _span = tracing::info_span!("session", stream = "show").entered();
            tracing::info!(bytes = 7, "closed");
            tracing::debug!("detail");
        });
        drop(logging);
        page.text()
    }

    #[test]
    fn level_and_format_change_within_a_session() {
        let page = Page::default();
        let (lines, queue) = Lines::start(page.clone(), LogFormat::Text).unwrap();
        let (subscriber, tuning) = subscriber(EnvFilter::new("info"), LogFormat::Text, true, lines);
        let logging = Logging { queue, tuning: tuning.clone() };
        tracing::dispatcher::with_default(&subscriber, || {
            let _span = tracing::info_span!("session", stream = "show").entered();
            tracing::debug!("unheard");
            tuning.apply("info,headwater::logging=debug", LogFormat::Json);
            tracing::debug!("heard");
            tuning.apply("no filter[", LogFormat::Text);
            tracing::info!("still json");
            tuning.apply("warn", LogFormat::Text);
            tracing::info!("unheard");
            tracing::warn!("as text");
        });
        drop(logging);
        let text = page.text();
        let lines: Vec<&str> = text.lines().collect();
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!((&of(lines[0])["message"], &of(lines[0])["spans"][0]["stream"]), (&"heard".into(), &"show".into()));
        assert_eq!(of(lines[1])["message"], "still json");
        assert!(lines[2].contains("WARN session{stream=\"show\"}: headwater::logging::tests: as text"), "{text}");
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
        let (mut lines, queue) = Lines::start(page.clone(), LogFormat::Text).unwrap();
        let logging = Logging { queue, tuning: Tuning { apply: Arc::new(|_, _| ()) } };
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
