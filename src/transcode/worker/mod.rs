//! The worker process: one source in over its standard input, its rungs out the same way; see [`super::wire`]. `main` calls
//! [`run`] in the child. Everything in this folder runs there and nowhere else, and it alone names GStreamer. It ends when
//! its parent closes the socket, and knows no stream, hub or viewer.
//!
//! ```text
//! socket -> decoder -> [pictures, bounded] -> studio thread: scale -> [bounded] -> encoder, one per rung -> socket
//! ```

mod decoder;
mod encoder;
mod encoders;
mod hearing;
pub mod probe;
mod scaler;
mod sound;
mod speaker;
mod still;
mod studio;

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::BytesMut;

use self::decoder::Decoder;
use self::sound::Sounds;
use self::speaker::Speaker;
use self::studio::Studio;
use super::wire::{FromWorker, Make, Order, Setup, SourceFrame, ToWorker, Trouble};
use crate::media::{Config, Kind, Time};

/// What the child process does. `probe`: say on standard output what works on this machine with this speed preset of x264,
/// and end.
pub fn run(probe: Option<&str>) -> ExitCode {
    let done = probe.map_or_else(serve_standard_input, probe::run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the worker ends: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes what the other end of a socket orders, until that is closed.
pub fn serve(socket: UnixStream) -> io::Result<()> {
    gstreamer::init().map_err(io::Error::other)?;
    let mut worker: Option<Worker> = None;
    let mut socket = socket;
    let (mut input, mut chunk) = (BytesMut::with_capacity(CHUNK), vec![0; CHUNK]);
    loop {
        while let Some(message) = ToWorker::read(&mut input).map_err(io::Error::other)? {
            match (message, &mut worker) {
                (ToWorker::Setup(setup), None) => worker = Some(Worker::set_up(&setup, socket.try_clone()?)?),
                (message, Some(worker)) => worker.take(message),
                (_, None) => return Err(io::Error::other("it was not set up")),
            }
        }
        match socket.read(&mut chunk)? {
            0 => return Ok(()),
            length => input.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
}

fn serve_standard_input() -> io::Result<()> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    serve(UnixStream::from(input))
}

/// A line for the server's log.
fn complain(line: &str) {
    use std::io::Write;
    // Without anybody who reads it, it is lost.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// One source and what is made of it.
struct Worker {
    speaker: Arc<Speaker>,
    studio: Arc<Studio>,
    video: Option<Config>,
    decoder: Option<Decoder>,
    /// The next picture must be a key frame: the decoder is new.
    waiting: bool,
    sounds: Sounds,
}

impl Worker {
    fn set_up(setup: &Setup, socket: UnixStream) -> io::Result<Worker> {
        // Before any thread is started: niceness is a thread's, and handed down.
        step_back(setup.nice);
        let speaker = Speaker::start(socket)?;
        Ok(Worker {
            studio: Studio::start(setup, speaker.clone())?,
            sounds: Sounds::new(speaker.clone()),
            video: None,
            decoder: None,
            waiting: true,
            speaker,
        })
    }

    fn take(&mut self, message: ToWorker) {
        match message {
            // Comes once, first; see `serve`.
            ToWorker::Setup(_) => {}
            ToWorker::Config(config @ Config::Video(_)) => self.video = Some(config),
            ToWorker::Config(config) => self.sounds.configure(config),
            ToWorker::Rungs(orders) => self.order(orders),
            ToWorker::Frame(frame) if frame.kind == Kind::Video => self.picture(frame),
            ToWorker::Frame(frame) => {
                self.speaker.hurry(true);
                self.sounds.push(&frame);
                self.speaker.hurry(false);
            }
            ToWorker::Still(order) => self.speaker.say(FromWorker::Still(still::make(&order))),
            ToWorker::Listen(order) => self.speaker.say(FromWorker::Heard(hearing::hear(&order))),
        }
    }

    fn order(&mut self, orders: Vec<Order>) {
        let (pictures, sounds) = orders.into_iter().partition(|order| matches!(order.make, Make::Pictures { .. }));
        self.studio.order(pictures);
        self.sounds.order(sounds);
    }

    /// One access unit of the source's pictures.
    fn picture(&mut self, frame: SourceFrame) {
        if let Some(cut) = frame.cut {
            self.studio.cut(cut.at);
        }
        let Some(config) = self.video.clone() else { return };
        let fit = self.decoder.as_mut().is_some_and(|decoder| decoder.take_config(&config) && decoder.is_sound());
        if !fit {
            self.renew_decoder(&config);
        }
        if self.waiting && !frame.key {
            return;
        }
        self.waiting = false;
        self.speaker.hurry(true);
        if let Some(decoder) = &self.decoder {
            decoder.push(&frame);
        }
        self.speaker.hurry(false);
    }

    fn renew_decoder(&mut self, config: &Config) {
        if let Some(old) = self.decoder.take() {
            if !old.is_sound() {
                self.studio.count_corrupt();
            }
            old.drain();
        }
        self.waiting = true;
        match Decoder::start(config, self.studio.clone()) {
            Ok(decoder) => self.decoder = Some(decoder),
            Err(what) => self.speaker.say(FromWorker::Trouble(Trouble { rung: None, over: true, what })),
        }
    }
}

/// Behind the server for the processor, and before it for the kernel that runs out of memory.
fn step_back(nice: i32) {
    let _ = rustix::process::nice(nice);
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// GStreamer counts nanoseconds.
fn nanoseconds(time: Time) -> gstreamer::ClockTime {
    gstreamer::ClockTime::from_nseconds(u64::try_from(time.duration().as_nanos()).unwrap_or(u64::MAX - 1))
}
