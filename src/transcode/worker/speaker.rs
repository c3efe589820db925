//! What the worker says: one thread writes messages to the socket, another adds a beat four times a second. The beats stop
//! when the source's frames get stuck, which is how the parent learns of it.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::transcode::wire::{Beat, FromWorker};

/// Gives the numbers of a beat.
type Count = Box<dyn Fn() -> Beat + Send>;

/// The way to the parent.
pub(super) struct Speaker {
    out: SyncSender<FromWorker>,
    count: Mutex<Option<Count>>,
    /// When the frame that is being taken came, in milliseconds after `start` and from 1; 0 while none is.
    taking: AtomicU64,
    start: Instant,
}

/// Messages that wait for the socket. When they are too many, encoders wait, and the studio drops pictures.
const OUTBOX: usize = 256;
const BEAT: Duration = Duration::from_millis(250);
/// A frame that takes longer than this is stuck.
const STUCK: Duration = Duration::from_secs(2);

impl Speaker {
    pub(super) fn start(socket: UnixStream) -> io::Result<Arc<Speaker>> {
        let (out, messages) = sync_channel(OUTBOX);
        let speaker = Speaker { out, count: Mutex::new(None), taking: AtomicU64::new(0), start: Instant::now() };
        let speaker = Arc::new(speaker);
        thread::Builder::new().name("speaker".into()).spawn(move || write(socket, &messages))?;
        let beating = Arc::downgrade(&speaker);
        thread::Builder::new().name("beat".into()).spawn(move || beat(&beating))?;
        Ok(speaker)
    }

    /// Waits while there is no room. A parent that is gone is noticed by who reads from it.
    pub(super) fn say(&self, message: FromWorker) {
        let _ = self.out.send(message);
    }

    /// What beats tell from now on.
    pub(super) fn tell(&self, count: impl Fn() -> Beat + Send + 'static) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(count));
    }

    /// A frame is being taken, which may wait for the decoder; or none is.
    pub(super) fn hurry(&self, taking: bool) {
        let since = if taking { self.start.elapsed().as_millis() as u64 + 1 } else { 0 };
        self.taking.store(since, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let since = self.taking.load(Ordering::Relaxed);
        since > 0 && self.start.elapsed().saturating_sub(Duration::from_millis(since)) > STUCK
    }
}

fn write(mut socket: UnixStream, messages: &Receiver<FromWorker>) {
    let mut buffer = BytesMut::new();
    while let Ok(message) = messages.recv() {
        buffer.clear();
        message.write(&mut buffer);
        if socket.write_all(&buffer).is_err() {
            return;
        }
    }
}

fn beat(speaker: &Weak<Speaker>) {
    loop {
        // Nobody wakes it: a sleep, on a thread of its own.
        thread::park_timeout(BEAT);
        let Some(speaker) = speaker.upgrade() else { return };
        if speaker.is_stuck() {
            continue;
        }
        let count = speaker.count.lock().unwrap_or_else(PoisonError::into_inner);
        let beat = count.as_ref().map(|count| count()).unwrap_or_default();
        drop(count);
        // Where there is no room the parent hears of something else, or of nothing, as it should.
        let _ = speaker.out.try_send(FromWorker::Beat(beat));
    }
}
