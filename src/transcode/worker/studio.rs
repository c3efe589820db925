//! Where decoded pictures become rungs: one thread takes each picture, scales it for every rung that wants it and hands it
//! to the rung's encoder. A rung that cannot follow loses pictures; nobody waits for it. A rung whose encoder fails goes on
//! with the next one.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::encoder::Encoder;
use super::encoders::Job;
use super::scaler::Scaler;
use super::speaker::Speaker;
use crate::media::Time;
use crate::transcode::wire::{Beat, FromWorker, Make, Order, RungBeat, Setup, Trouble};

/// One decoded picture, I420. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// Presentation time, of the access unit it was decoded from.
    pub(super) pts: Time,
    pub(super) buffer: gst::Buffer,
    pub(super) info: gst_video::VideoInfo,
}

/// The studio. Shared between the threads that decode, scale and read orders.
pub(super) struct Studio {
    pictures: SyncSender<Picture>,
    floor: Arc<Mutex<Floor>>,
    speaker: Arc<Speaker>,
}

/// Decoded pictures that wait to be scaled. Then the decoder waits.
const QUEUE: usize = 3;
/// Cuts that no picture has reached yet; more would mean that nothing is decoded.
const CUTS: usize = 64;

/// What is being made.
#[derive(Default)]
struct Floor {
    encoders: Vec<String>,
    preset: String,
    rungs: Vec<Rung>,
    cuts: BTreeSet<Time>,
    decoded: u64,
    corrupt: u64,
    last: Option<Time>,
}

/// One rung.
struct Rung {
    order: Order,
    job: Job,
    rate: Rate,
    scaler: Scaler,
    encoder: Option<Encoder>,
    /// Place of its encoder in the list.
    choice: usize,
    /// A segment begins with its next picture.
    owes_key: bool,
    /// Without what the present encoder has to add.
    beat: RungBeat,
    started: Instant,
    /// Width to height of a pixel, as its encoder knows it.
    pixels: gst::Fraction,
}

/// Thins pictures out to at most so many a second.
#[derive(Debug)]
struct Rate {
    /// Least distance; zero: every picture is taken.
    interval: Time,
    due: Option<Time>,
}

impl Studio {
    pub(super) fn start(setup: &Setup, speaker: Arc<Speaker>) -> io::Result<Arc<Studio>> {
        let (pictures, waiting) = sync_channel(QUEUE);
        let (encoders, preset) = (setup.encoders.clone(), setup.preset.clone());
        let floor = Arc::new(Mutex::new(Floor { encoders, preset, ..Floor::default() }));
        let studio = Arc::new(Studio { pictures, floor: floor.clone(), speaker: speaker.clone() });
        let counts = Arc::new(Mutex::new(Beat::default()));
        let counted = counts.clone();
        // Not from the floor itself: who waits for an encoder there must not keep the beats waiting.
        speaker.tell(move || lock(&counted).clone());
        let work = move || make(&waiting, &floor, &counts, &speaker);
        thread::Builder::new().name("studio".into()).spawn(work)?;
        Ok(studio)
    }

    /// These rungs are wanted from now on.
    pub(super) fn order(&self, orders: Vec<Order>) {
        lock(&self.floor).order(orders);
    }

    /// A segment begins with the first picture that is shown at this time or later.
    pub(super) fn cut(&self, at: Time) {
        let mut floor = lock(&self.floor);
        floor.cuts.insert(at);
        if floor.cuts.len() > CUTS {
            floor.cuts.pop_first();
        }
    }

    /// A decoder had to be given up.
    pub(super) fn count_corrupt(&self) {
        lock(&self.floor).corrupt += 1;
    }

    /// Takes a decoded picture; waits while too many wait.
    pub(super) fn take(&self, picture: Picture) {
        if self.pictures.send(picture).is_err() {
            self.speaker.say(FromWorker::Trouble(Trouble {
                rung: None,
                over: true,
                what: "the studio has ended".to_owned(),
            }));
        }
    }
}

fn make(waiting: &Receiver<Picture>, floor: &Mutex<Floor>, counts: &Mutex<Beat>, speaker: &Arc<Speaker>) {
    while let Ok(picture) = waiting.recv() {
        let troubles = {
            let mut floor = lock(floor);
            let troubles = floor.take(&picture, speaker);
            *lock(counts) = floor.beat();
            troubles
        };
        for trouble in troubles {
            speaker.say(FromWorker::Trouble(trouble));
        }
    }
}

impl Floor {
    fn order(&mut self, orders: Vec<Order>) {
        let mut old = std::mem::take(&mut self.rungs);
        for order in orders {
            let same = |rung: &Rung| rung.order.rung == order.rung && rung.order.make == order.make;
            let rung = match old.iter().position(same) {
                Some(place) => Some(old.swap_remove(place)),
                None => Rung::new(order, &self.preset),
            };
            self.rungs.extend(rung);
        }
    }

    /// Makes what the rungs want of a picture. Gives what went wrong.
    fn take(&mut self, picture: &Picture, speaker: &Arc<Speaker>) -> Vec<Trouble> {
        self.decoded += 1;
        if self.last.is_some_and(|last| picture.pts <= last) {
            return Vec::new();
        }
        self.last = Some(picture.pts);
        let mut cut = false;
        while self.cuts.first().is_some_and(|at| *at <= picture.pts) {
            self.cuts.pop_first();
            cut = true;
        }
        let mut troubles = Vec::new();
        for rung in &mut self.rungs {
            rung.owes_key |= cut;
            if picture.pts.flicks() <= rung.order.after || !rung.rate.takes(picture.pts, rung.owes_key) {
                continue;
            }
            if let Err(what) = rung.take(picture, &self.encoders, speaker) {
                troubles.push(Trouble { rung: Some(rung.order.rung), over: true, what });
            }
        }
        troubles
    }

    fn beat(&self) -> Beat {
        let rungs = self.rungs.iter().map(Rung::count).collect();
        Beat { decoded: self.decoded, corrupt: self.corrupt, rungs }
    }
}

impl Rung {
    fn new(order: Order, preset: &str) -> Option<Rung> {
        let Make::Pictures { width, height, frame_rate, nominal, bitrate, level } = order.make else { return None };
        let job = Job { width, height, nominal, bitrate, level, preset: preset.to_owned() };
        Some(Rung {
            beat: RungBeat { rung: order.rung, ..RungBeat::default() },
            rate: Rate::new(frame_rate),
            scaler: Scaler::new(width, height),
            encoder: None,
            choice: 0,
            owes_key: false,
            pixels: gst::Fraction::new(1, 1),
            started: Instant::now(),
            job,
            order,
        })
    }

    /// Scales and encodes a picture, or drops it. Errors once, when no encoder works.
    fn take(&mut self, picture: &Picture, names: &[String], speaker: &Arc<Speaker>) -> Result<(), String> {
        self.mend(picture.info.par(), names, speaker)?;
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        // At first there is a backlog to work off, of which no picture should be lost.
        while encoder.queue() >= FULL && self.started.elapsed() < CATCH_UP {
            thread::park_timeout(MOMENT);
        }
        if encoder.queue() >= FULL {
            self.beat.dropped += 1;
            return Ok(());
        }
        let begun = Instant::now();
        let scaled = self.scaler.scale(picture)?;
        self.beat.busy_us += u64::try_from(begun.elapsed().as_micros()).unwrap_or(0);
        if encoder.push(&scaled, self.owes_key) {
            self.owes_key = false;
        } else {
            self.beat.dropped += 1;
        }
        Ok(())
    }

    /// Sees to it that there is an encoder that works, if any does. `pixels`: width to height of one.
    fn mend(&mut self, pixels: gst::Fraction, names: &[String], speaker: &Arc<Speaker>) -> Result<(), String> {
        if let Some(why) = self.encoder.as_ref().and_then(Encoder::trouble) {
            self.retire(&why, speaker, names);
        }
        // Pixels of another shape are another configuration, which begins with a segment.
        if self.owes_key && self.pixels != pixels {
            self.encoder.iter().for_each(Encoder::drain);
            self.dismiss();
        }
        while self.encoder.is_none() && self.choice < names.len() {
            let name = &names[self.choice];
            match Encoder::start(name, self.order.rung, &self.job, pixels, speaker.clone()) {
                Ok(encoder) => {
                    self.beat.encoder.clone_from(name);
                    self.pixels = pixels;
                    self.encoder = Some(encoder);
                }
                Err(why) => self.retire(&why, speaker, names),
            }
        }
        let exhausted = self.encoder.is_none() && self.choice == names.len();
        if exhausted {
            // Said once.
            self.choice += 1;
            return Err("no H.264 encoder works".to_owned());
        }
        Ok(())
    }

    /// Its encoder does not work: the next one takes over.
    fn retire(&mut self, why: &str, speaker: &Arc<Speaker>, names: &[String]) {
        self.dismiss();
        let name = names.get(self.choice).map_or("", String::as_str);
        let what = format!("encoder {name} failed: {why}");
        speaker.say(FromWorker::Trouble(Trouble { rung: Some(self.order.rung), over: false, what }));
        self.beat.fallbacks += 1;
        self.choice += 1;
    }

    /// Ends its encoder; what that has done counts on.
    fn dismiss(&mut self) {
        if let Some(old) = self.encoder.take() {
            self.beat.frames += old.frames();
            self.beat.busy_us += old.busy_us();
            self.beat.misses += old.misses();
        }
    }

    fn count(&self) -> RungBeat {
        let mut beat = self.beat.clone();
        if let Some(encoder) = &self.encoder {
            beat.frames += encoder.frames();
            beat.busy_us += encoder.busy_us();
            beat.misses += encoder.misses();
            beat.queue = encoder.queue();
        }
        beat
    }
}

/// A rung that has just started may keep the others waiting for so long.
const CATCH_UP: Duration = Duration::from_secs(5);
/// An encoder takes longer for a picture.
const MOMENT: Duration = Duration::from_millis(2);
/// Pictures in an encoder's queue from which on it is not worth scaling another.
const FULL: u32 = 8;

impl Rate {
    fn new(cap: Option<f64>) -> Rate {
        let interval = cap.filter(|cap| *cap > 0.0).map_or(0.0, |cap| Time::PER_SECOND as f64 / cap);
        Rate { interval: Time::from_flicks(interval as i64), due: None }
    }

    /// Whether a picture at this time is taken; one that begins a segment always is.
    fn takes(&mut self, pts: Time, begins: bool) -> bool {
        let Some(due) = self.due.filter(|_| self.interval > Time::ZERO) else {
            self.due = Some(pts + self.interval);
            return true;
        };
        // Pictures waver by a few milliseconds about their times.
        let slack = self.interval.scaled(1, 4);
        if pts + slack < due && !begins {
            return false;
        }
        // On the grid of the times that were due, unless that has been left.
        let next = due + self.interval;
        self.due = Some(if begins || next + slack < pts { pts + self.interval } else { next });
        true
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixStream;

    use super::*;

    fn picture(number: i64) -> Picture {
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 64, 64).build().unwrap();
        let buffer = gst::Buffer::from_mut_slice(vec![(number % 200) as u8; info.size()]);
        Picture { pts: Time::from_millis(number * 40), buffer, info }
    }

    #[test]
    fn an_encoder_that_fails_gives_way_to_the_next_and_pictures_go_on() {
        gst::init().unwrap();
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let speaker = Speaker::start(theirs).unwrap();
        let make =
            Make::Pictures { width: 64, height: 64, frame_rate: None, nominal: 25.0, bitrate: 99_000, level: 10 };
        let mut rung = Rung::new(Order { rung: 0, make, after: i64::MIN }, "ultrafast").unwrap();
        let names = ["unheard-of", "broken", "x264enc"].map(str::to_owned);
        let begun = Instant::now();
        let mut number = 0;
        while rung.beat.fallbacks < 2 || rung.count().frames < 10 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", rung.count());
            assert!(rung.take(&picture(number), &names, &speaker).is_ok());
            number += 1;
            thread::park_timeout(Duration::from_millis(2));
        }
        assert_eq!((rung.count().encoder.as_str(), rung.count().fallbacks), ("x264enc", 2));
        let none = ["unheard-of".to_owned()];
        let make =
            Make::Pictures { width: 64, height: 64, frame_rate: None, nominal: 25.0, bitrate: 99_000, level: 10 };
        let mut rung = Rung::new(Order { rung: 0, make, after: i64::MIN }, "ultrafast").unwrap();
        assert!(rung.take(&picture(0), &none, &speaker).is_err(), "it is said that none works");
        assert!(rung.take(&picture(1), &none, &speaker).is_ok(), "once");
    }

    fn taken(cap: f64, times: impl Iterator<Item = i64>) -> Vec<i64> {
        let mut rate = Rate::new(Some(cap));
        times.filter(|ms| rate.takes(Time::from_millis(*ms), false)).collect()
    }

    #[test]
    fn rates_are_halved_evenly_and_left_alone_where_they_fit() {
        assert_eq!(taken(30.0, (0..60).map(|n| n * 1000 / 60)).len(), 30);
        assert_eq!(taken(30.0, (0..30).map(|n| n * 1000 / 30)).len(), 30);
        assert_eq!(taken(30.0, (0..25).map(|n| n * 40)).len(), 25);
        assert_eq!(taken(15.0, (0..30).map(|n| n * 1000 / 30 + n % 3)).len(), 15);
        assert_eq!(taken(30.0, (0..50).map(|n| n * 20)).len(), 30, "50 to 30 is uneven, and right on average");
        assert_eq!(taken(30.0, (0..5).map(|n| n * 1000)).len(), 5);
    }

    #[test]
    fn the_picture_of_a_cut_is_always_taken() {
        let mut rate = Rate::new(Some(1.0));
        assert!(rate.takes(Time::ZERO, false));
        assert!(!rate.takes(Time::from_millis(100), false));
        assert!(rate.takes(Time::from_millis(200), true));
        assert!(!rate.takes(Time::from_millis(900), false));
        assert!(rate.takes(Time::from_millis(1200), false));
    }
}
