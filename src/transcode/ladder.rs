//! The ladder of one stream: decides on its rungs, and keeps a worker process for those that are wanted. Follows the
//! source's log, and appends to the logs of the rungs. What a worker does wrong costs its rungs alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::MissedTickBehavior;

use super::backlog::Backlog;
use super::crew::{Crew, News};
use super::load::{Left, Load};
use super::policy::{self, Decision, Source};
use super::status::{LadderStatus, Trouble};
use super::tracks::SoundTrack;
use super::wire::{FromWorker, Order, RungId, Setup};
use super::{Mode, Rules, Shared};
use crate::hub::{self, From, Ladder, Layer, Rung, RungState, Stream};
use crate::media::{Config, Frame, Kind, Time};

mod entry;
mod layered;

use entry::Entry;
use layered::Layered;

/// Makes the rungs of one epoch of a stream, until it is over.
pub(super) async fn run(shared: Arc<Shared>, stream: Arc<Stream>) {
    let settings = shared.settings.get();
    let rules = (settings.choose)(stream.name().as_str());
    // The hub decides where no stream has rungs.
    if stream.ladder().borrow().is_some() {
        return;
    }
    let none = || stream.set_ladder(Arc::new(Ladder::new(Vec::new(), None)));
    if rules.mode == Mode::Off {
        return none();
    }
    let mut backlog = Backlog::new(settings.log_bytes, shared.hub.budget().take(0));
    let mut frames = stream.frames().cursor(From::Oldest);
    let mut look = Look::default();
    let mut probed = shared.probed.subscribe();
    let mut can = false;
    while !(can && look.is_enough()) {
        tokio::select! {
            frame = frames.next() => match frame {
                Ok(Some(frame)) => {
                    backlog.push(&frame);
                    look.see(&frame, &stream);
                }
                Ok(None) => return none(),
                Err(_) => {
                    frames.skip_to_newest_start();
                }
            },
            // The sender lives as long as this task's own handle of it.
            _ = probed.wait_for(Option::is_some), if !can => can = true,
        }
    }
    let encoders = shared.encoders(&probed.borrow().clone().unwrap_or_default());
    let mut decision = look.decide(&rules, settings.sound_bitrate);
    if let Some(profile) = shared.profile(&probed.borrow().clone().unwrap_or_default()) {
        let Decision { rungs, stand_in, layered, .. } = &mut decision;
        let made = rungs.iter_mut().filter(|rung| !layered.iter().any(|(name, _)| *name == rung.name));
        let pictures = made.chain(stand_in).filter_map(|rung| rung.pictures.as_mut());
        pictures.for_each(|pictures| pictures.codecs = format!("avc1.{profile}{:02x}", pictures.level));
    }
    if encoders.is_empty() || (decision.rungs.is_empty() && decision.stand_in.is_none() && decision.spoken.is_none()) {
        return none();
    }
    let mut task = Task::new(shared, &stream, rules.mode, (decision, look), encoders, backlog);
    stream.set_ladder(task.ladder.clone());
    // The stream itself is not held on to: its log says when it is over.
    drop(stream);
    task.follow(frames).await;
}

/// What is known of a source before its ladder is decided on.
#[derive(Default)]
struct Look {
    video: Option<Arc<Config>>,
    audio: Option<Arc<Config>>,
    times: Vec<Time>,
    first: Option<Time>,
    newest: Time,
    /// What the publisher sends beside the best, and whether all of it has come.
    layers: Vec<Arc<Layer>>,
    all_come: bool,
}

/// So much of a source shows its frame rate and whether it has sound.
const ENOUGH: Time = Time::from_millis(700);
/// Publishers of several layers begin with the least of them, and add the others as their link allows.
const LAYERS: Time = Time::from_millis(3_000);

impl Look {
    fn see(&mut self, frame: &Frame, stream: &Stream) {
        self.all_come = stream.layers().iter().all(|layer| layer.is_fresh() && layer.bits() > 0.0);
        self.layers = stream.layers_below();
        self.first.get_or_insert(frame.dts);
        self.newest = self.newest.max(frame.dts);
        match frame.kind() {
            Kind::Video => {
                self.video = Some(frame.config.clone());
                self.times.push(frame.dts);
            }
            Kind::Audio => self.audio = Some(frame.config.clone()),
        }
    }

    fn is_enough(&self) -> bool {
        let enough = if self.all_come { ENOUGH } else { LAYERS };
        self.first.is_some_and(|first| self.newest - first >= enough)
    }

    fn decide(&self, rules: &Rules, sound_bitrate: u64) -> Decision {
        let video = match self.video.as_deref() {
            Some(Config::Video(video)) => Some(video),
            _ => None,
        };
        let audio = match self.audio.as_deref() {
            Some(Config::Audio(audio)) => Some(audio),
            _ => None,
        };
        let configs: Vec<_> = self.layers.iter().map(|layer| (layer, layer.config())).collect();
        let layers: Vec<_> = configs.iter().filter_map(|(layer, config)| shape(layer, config.as_deref())).collect();
        let source = Source { video, frame_rate: self.frame_rate(), audio, layers: &layers };
        policy::decide(&rules.rungs, sound_bitrate, &source)
    }

    /// Pictures a second, 0 if there are too few.
    fn frame_rate(&self) -> f64 {
        match (self.times.first(), self.times.last(), self.times.len()) {
            (Some(first), Some(last), count @ 3..) if last > first => (count - 1) as f64 / (*last - *first).seconds(),
            _ => 0.0,
        }
    }
}

fn shape<'a>(layer: &'a Layer, config: Option<&'a Config>) -> Option<policy::Layer<'a>> {
    let Some(Config::Video(video)) = config else { return None };
    Some(policy::Layer { name: layer.name(), video, bitrate: (layer.bits() as u64).max(LEAST_LAYER) })
}

/// In bits a second, of a layer whose rate nobody has measured yet.
const LEAST_LAYER: u64 = 100_000;

/// A ladder at work.
struct Task {
    shared: Arc<Shared>,
    name: String,
    mode: Mode,
    ladder: Arc<Ladder>,
    /// The stand-in first, if there is one; a rung's place is its number for workers.
    entries: Vec<Entry>,
    /// AAC and Opus that are made anew.
    sounds: [SoundTrack; 2],
    backlog: Backlog,
    crew: Crew,
    load: Load,
    /// Presentation time of the newest source picture, and when it came.
    newest: (Time, Instant),
    place: Option<Place>,
    /// A rung stops so long after it was last asked for.
    idle: Duration,
    trouble: Option<Trouble>,
    /// A rung has to be made from now on that its publisher sent before.
    forsaken: bool,
    shown: Instant,
}

/// How often the ladder looks at who asks and at its workers.
const LOOK: Duration = Duration::from_millis(250);
/// How long a rung may go on after the source to give out what its encoder holds.
const TAIL: Duration = Duration::from_millis(1_500);

impl Task {
    fn new(
        shared: Arc<Shared>,
        stream: &Stream,
        mode: Mode,
        (decision, look): (Decision, Look),
        encoders: Vec<String>,
        backlog: Backlog,
    ) -> Task {
        let budget = shared.hub.budget();
        let settings = shared.settings.get();
        let rung = |spec| Arc::new(Rung::new(spec, settings.log_bytes, budget));
        let (stand_in, spoken) = (decision.stand_in.map(rung), decision.spoken.map(rung));
        let rungs = decision.rungs.into_iter().map(rung).collect();
        let ladder = Arc::new(Ladder::new(rungs, stand_in).with_spoken(spoken));
        let now = Instant::now();
        let setup = Setup {
            stream: stream.name().to_string(),
            encoders,
            preset: shared.preset.get().to_string(),
            nice: settings.nice,
        };
        let names: Vec<&str> = ladder.all().map(|rung| rung.spec().name.as_str()).collect();
        let sent: Vec<&str> = decision.layered.iter().map(|(name, _)| name.as_str()).collect();
        tracing::info!(stream = %stream.name(), rungs = ?names, ?sent, "the ladder is decided on");
        let entry = |rung: &Arc<Rung>| {
            let sent =
                decision.layered.iter().find(|(name, _)| *name == rung.spec().name).map(|(_, layer)| layer.as_str());
            let layer = look.layers.iter().find(|layer| Some(layer.name()) == sent);
            Entry::new(rung.clone(), layer.cloned().map(Layered::new), look.frame_rate())
        };
        Task {
            name: stream.name().to_string(),
            mode,
            entries: ladder.all().map(entry).collect(),
            sounds: Default::default(),
            backlog,
            crew: Crew::new(settings.program.clone(), setup, settings.worker_memory),
            load: Load::new(now),
            newest: (Time::ZERO, now),
            place: None,
            idle: settings.idle,
            trouble: None,
            forsaken: false,
            shown: now,
            ladder,
            shared,
        }
    }

    async fn follow(&mut self, mut frames: crate::hub::Cursor<Frame>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ladder = self.ladder.clone();
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Ok(Some(frame)) => self.take(&frame),
                    Ok(None) => break,
                    Err(lagged) => {
                        tracing::warn!(stream = %self.name, %lagged, "the ladder fell behind its source");
                        frames.skip_to_newest_start();
                    }
                },
                news = self.crew.news() => self.hear(news),
                () = ladder.woken() => self.look(Instant::now()),
                _ = tick.tick() => self.look(Instant::now()),
            }
        }
        self.end().await;
    }

    /// The source is over: what the encoders still hold is given out, then the rungs are over too.
    async fn end(&mut self) {
        let (last, _) = self.newest;
        self.follow_layers(last);
        let behind = |task: &Task| task.entries.iter().any(|entry| entry.is_behind(last));
        let rest = async {
            while behind(self) && self.crew.is_at_work() {
                let news = self.crew.news().await;
                self.hear(news);
            }
        };
        let _ = tokio::time::timeout(TAIL, rest).await;
        self.entries.iter().for_each(|entry| entry.rung.close());
        self.shared.board.forget(&self.name);
    }

    /// The next frame of the source.
    fn take(&mut self, frame: &Frame) {
        self.backlog.push(frame);
        if frame.kind() == Kind::Video {
            self.newest = (self.newest.0.max(frame.pts), Instant::now());
        }
        for entry in &mut self.entries {
            entry.take(frame);
        }
        self.crew.feed(frame);
        self.follow_layers(self.newest.0);
    }

    /// Takes on what layers have; one that cannot be a rung is forsaken, and the rung is made as the others are.
    fn follow_layers(&mut self, newest: Time) {
        for entry in self.entries.iter_mut().filter(|entry| entry.layered.is_some()) {
            if let Err(why) = entry.follow_layer(newest) {
                let rung = entry.rung.spec().name.as_str();
                tracing::warn!(stream = %self.name, rung, "a layer of the publisher cannot be a rung: {why}; the rung is made");
                entry.layered = None;
                self.forsaken = true;
            }
        }
    }

    /// A worker said something, or is gone.
    fn hear(&mut self, news: News) {
        let News { from, message } = news;
        match message {
            Some(FromWorker::Frame(unit)) if SOUNDS.contains(&unit.rung) => {
                let opus = unit.rung == OPUS;
                if let Some(frame) = self.sounds[usize::from(opus)].frame(from, unit) {
                    self.entries.iter_mut().for_each(|entry| entry.take_made_sound(opus, &frame));
                }
            }
            Some(FromWorker::Frame(unit)) => {
                if let Some(entry) = self.entries.get_mut(unit.rung as usize)
                    && entry.give(from, unit)
                {
                    self.adopted();
                }
            }
            Some(FromWorker::Config(number @ (AAC | OPUS), config)) => {
                self.sounds[usize::from(number == OPUS)].configure(from, config);
            }
            Some(FromWorker::Config(rung, config)) => {
                if let Some(entry) = self.entries.get_mut(rung as usize) {
                    entry.track.configure(from, config);
                }
            }
            Some(FromWorker::Beat(beat)) => {
                for beat in beat.rungs {
                    if let Some(entry) = self.entries.get_mut(beat.rung as usize) {
                        entry.beat(beat);
                    }
                }
            }
            Some(FromWorker::Trouble(trouble)) => {
                let concerns = |number: RungId| trouble.rung.is_none_or(|rung| rung == number);
                let entries = (0..).zip(&mut self.entries).filter(|(number, _)| concerns(*number));
                entries.filter(|_| trouble.over).for_each(|(_, entry)| entry.fail());
                let rung = trouble.rung.and_then(|rung| self.entries.get(rung as usize));
                let rung = rung.map(|entry| entry.rung.spec().name.as_str());
                tracing::error!(stream = %self.name, rung, "{}", trouble.what);
                self.note(trouble.what);
            }
            Some(FromWorker::Still(_) | FromWorker::Heard(_)) => {}
            None => {
                tracing::error!(stream = %self.name, rungs = %self.at_work(), "a worker is gone; another takes its place");
                self.look(Instant::now());
            }
        }
    }

    /// Once every rung has gone over to the newest worker, the one before it may go.
    fn adopted(&mut self) {
        let newest = self.crew.newest();
        let pictures = self.entries.iter().filter(|entry| entry.track.is_begun() && entry.is_made());
        if pictures.clone().all(|entry| entry.track.chain() == newest) {
            self.crew.keep_newest();
        }
    }

    /// Who is wanted, who is there, and how it goes.
    fn look(&mut self, now: Instant) {
        self.idle = self.shared.settings.get().idle;
        if let Some(why) = self.crew.check(now) {
            tracing::error!(stream = %self.name, "{why}");
            self.note(why);
        }
        self.entries.iter_mut().for_each(Entry::beat_for_layer);
        Trouble::settle(&mut self.trouble, SystemTime::now());
        self.judge(now);
        let (begun, changed) = self.decide();
        let begun = std::mem::take(&mut self.forsaken) || begun;
        let at_work = self.entries.iter().any(|entry| entry.track.is_begun() && entry.needs_worker());
        if !at_work {
            self.crew.dismiss();
            self.place = None;
        } else if begun || (!self.crew.is_at_work() && self.crew.may_start(now)) {
            let orders = self.orders();
            if let Err(error) = self.crew.start(now, orders, &self.backlog) {
                tracing::error!(stream = %self.name, %error, "cannot start a worker");
                self.note(format!("cannot start a worker: {error}"));
            }
        } else if changed {
            self.crew.order(self.orders());
        }
        if now.saturating_duration_since(self.shown) >= SHOW {
            self.shown = now;
            self.show();
        }
    }

    /// Starts and stops rungs as they are asked for. Says whether one has begun, and whether one has changed or stopped.
    fn decide(&mut self) -> (bool, bool) {
        let (mut begun, mut changed) = (false, false);
        let cuts = self.backlog.cuts();
        for place in 0..self.entries.len() {
            let left = self.left(place);
            let wanted = self.wants(place) && left != Left::Nothing;
            let placed = !wanted || self.take_place();
            let entry = &mut self.entries[place];
            if entry.rung.order() == hub::Order::Stop || left == Left::Nothing || !placed || entry.has_failed() {
                changed |= entry.stop(RungState::Shed);
            } else if !wanted {
                changed |= entry.stop(RungState::Cold);
            } else if !entry.track.is_begun() && !cuts.is_empty() {
                entry.begin(&cuts, &self.backlog);
                begun |= entry.needs_worker();
            }
            changed |= std::mem::replace(&mut entry.half, left == Left::Half) != entry.half;
        }
        (begun, changed)
    }

    fn wants(&self, place: usize) -> bool {
        match self.entries[place].rung.order() {
            hub::Order::Start => return true,
            hub::Order::Stop => return false,
            hub::Order::Auto => {}
        }
        let idle = self.idle;
        let asked = self.entries[place].rung.asked_within(idle);
        let offered = !self.is_stand_in(place) || self.ladder.misfit().is_some();
        asked
            || (offered
                && match self.mode {
                    Mode::Always => true,
                    Mode::Watched => self.ladder.watched_within(idle),
                    Mode::Rung | Mode::Off => false,
                })
    }

    fn left(&self, place: usize) -> Left {
        let above = self.entries[..place].iter().enumerate();
        let above = above
            .filter(|(place, entry)| entry.is_made() && (!self.is_stand_in(*place) || self.ladder.misfit().is_some()));
        if self.entries[place].is_made() { self.load.left(above.count()) } else { Left::Whole }
    }

    fn is_stand_in(&self, place: usize) -> bool {
        place == 0 && self.ladder.stand_in().is_some()
    }

    /// Whether this ladder may be at work beside the others.
    fn take_place(&mut self) -> bool {
        if self.place.is_none() {
            self.place = Place::take(&self.shared.at_work, self.shared.settings.get().max_ladders);
            if self.place.is_none() {
                self.note("as many ladders are at work as may be (transcode.max_ladders)".to_owned());
            }
        }
        self.place.is_some()
    }

    /// Tells the load how it goes, and says so when something is given up or taken back.
    fn judge(&mut self, now: Instant) {
        let (newest, came) = self.newest;
        let flows = now.saturating_duration_since(came) < Duration::from_secs(1);
        let slow = flows && self.crew.is_settled(now) && self.entries.iter().any(|entry| entry.is_slow(now, newest));
        let pictures = self.entries.iter().filter(|entry| entry.is_made()).count();
        let before = self.load.step();
        if before > 0 {
            self.note(TOO_SLOW.to_owned());
        }
        if !self.load.judge(now, slow, pictures) {
            return;
        }
        let step = self.load.step();
        if step > before {
            tracing::warn!(stream = %self.name, step, "{TOO_SLOW}");
        } else {
            tracing::info!(stream = %self.name, step, "the machine keeps up: more of the ladder is made again");
        }
    }

    fn orders(&self) -> Vec<Order> {
        let begun = (0..).zip(&self.entries).filter(|(_, entry)| entry.track.is_begun());
        let mut orders: Vec<Order> = begun.filter_map(|(number, entry)| entry.order(number)).collect();
        for number in SOUNDS {
            let opus = number == OPUS;
            let takes = |entry: &&Entry| entry.track.is_begun() && entry.made_sound(opus).is_some();
            let takers = || self.entries.iter().filter(takes);
            let Some(bitrate) = takers().filter_map(|entry| entry.made_sound(opus)).max() else { continue };
            let begun = takers().filter_map(|entry| entry.track.begun_at()).min();
            let after = self.sounds[usize::from(opus)].last().or(begun).unwrap_or(Time::ZERO);
            orders.push(entry::sound_order(number, opus, bitrate, after));
        }
        orders
    }

    fn at_work(&self) -> String {
        let begun = self.entries.iter().filter(|entry| entry.track.is_begun());
        begun.map(|entry| entry.rung.spec().name.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn note(&mut self, trouble: String) {
        Trouble::note(&mut self.trouble, trouble, SystemTime::now());
    }

    fn show(&self) {
        self.shared.board.show(LadderStatus {
            stream: self.name.clone(),
            advice: self.ladder.misfit().map(str::to_owned),
            workers: self.crew.pids(),
            memory: self.crew.memory(),
            restarts: self.crew.restarts(),
            given_up: self.load.step(),
            trouble: self.trouble.clone(),
            rungs: self.entries.iter().map(|entry| entry.status(self.newest.0)).collect(),
        });
    }
}

/// Leave to be at work beside other ladders; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Place> {
        let fits = |taken: usize| (taken < most).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| Place(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.board.forget(&self.name);
    }
}

/// What is said while less is made than was asked for.
const TOO_SLOW: &str = "the machine is too slow for this ladder: less of it is made";
/// The numbers of the sound that is made anew, which all rungs share.
const SOUNDS: [RungId; 2] = [AAC, OPUS];
const AAC: RungId = 1_000;
const OPUS: RungId = 1_001;
/// How often the operator's view is brought up to date.
const SHOW: Duration = Duration::from_secs(1);
