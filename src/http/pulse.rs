//! One connection's vital signs, and the verdicts drawn from them: no head in time, idle for long, a peer that takes no
//! bytes. The connection's task writes them, its worker reads them once per tick; so no request arms or resets a timer.
//!
//! Times are ticks of the worker's [`Clock`]: reading one is a load, where the system's clock would be a call.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use super::signalling::Ends;

/// Counts ticks from 1; 0 stands for "not". Knows how many of them a peer may take.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Ticks>);

#[derive(Debug)]
struct Ticks {
    now: AtomicU32,
    /// Of the two generations of answers, the one that grows, and when it began to. The other only dwindles.
    generation: AtomicU32,
    turned: AtomicU32,
    header: AtomicU32,
    idle: AtomicU32,
    write: AtomicU32,
    answer: AtomicU32,
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Clock {
        let Patience { header, idle, write, answer } = patience;
        let [header, idle, write, answer] = [header, idle, write, answer].map(AtomicU32::new);
        let (now, generation, turned) = (AtomicU32::new(1), AtomicU32::new(0), AtomicU32::new(0));
        Clock(Arc::new(Ticks { now, generation, turned, header, idle, write, answer }))
    }

    /// Other waits from now on, for what goes on already too.
    pub(super) fn set_patience(&self, patience: Patience) {
        let Patience { header, idle, write, answer } = patience;
        let Ticks { header: h, idle: i, write: w, answer: a, .. } = &*self.0;
        [(h, header), (i, idle), (w, write), (a, answer)]
            .into_iter()
            .for_each(|(kept, value)| kept.store(value, Relaxed));
    }

    pub(super) fn advance(&self) {
        let now = self.0.now.fetch_add(1, Relaxed).wrapping_add(1);
        if now.wrapping_sub(self.0.turned.load(Relaxed)) >= self.0.answer.load(Relaxed).max(1) {
            self.0.turned.store(now, Relaxed);
            self.0.generation.fetch_xor(1, Relaxed);
        }
    }

    fn now(&self) -> u32 {
        self.0.now.load(Relaxed)
    }

    fn past(&self, since: u32, allowed: &AtomicU32) -> bool {
        self.now().wrapping_sub(since) > allowed.load(Relaxed)
    }

    /// Which of the two generations of answers is growing; the other only dwindles.
    fn generation(&self) -> usize {
        self.0.generation.load(Relaxed) as usize
    }

    /// Whether this tick begins a generation.
    fn turns(&self) -> bool {
        self.now() == self.0.turned.load(Relaxed)
    }
}

/// How many ticks a peer may take for each thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To the end of a head.
    pub(super) header: u32,
    /// Without a request.
    pub(super) idle: u32,
    /// Without taking bytes that wait for it.
    pub(super) write: u32,
    /// To take a whole answer; up to twice as much is allowed. It bounds the media that slow peers keep in memory.
    pub(super) answer: u32,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Live,
    /// Finish what is in flight, take nothing new.
    Finish,
    /// Close at once.
    Abort,
}

/// Why a connection was ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Header,
    Idle,
    Write,
}

/// The vital signs of one connection. Written and read on one thread, so the order of the writes is never in question.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Clock,
    ends: Option<Ends>,
    /// Requests whose answer has not been handed over completely.
    in_flight: AtomicU32,
    /// When the connection last had a request in flight or moved bytes.
    quiet_since: AtomicU32,
    /// When the head that is not complete yet began; 0 if none has.
    head_since: AtomicU32,
    /// When the peer last took bytes, while more wait in the socket; 0 if none wait.
    blocked_since: AtomicU32,
    /// When a piece of an answer last moved. HTTP/2 has a window that can shut while the socket still takes pings.
    moved_since: AtomicU32,
    /// Answers on their way, in two generations: what is left of the older one when it would grow again is overdue.
    sending: [AtomicU32; 2],
    /// Whether incoming bytes begin a head. Not so in HTTP/2, whose peers also send acknowledgements and pings.
    reads_are_heads: AtomicBool,
    verdict: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Pulse {
    /// Of a connection accepted now: it owes us a request.
    pub(super) fn new(clock: Clock, ends: Option<Ends>) -> Arc<Pulse> {
        let now = clock.now();
        Arc::new(Pulse {
            clock,
            ends,
            in_flight: AtomicU32::new(0),
            quiet_since: AtomicU32::new(now),
            head_since: AtomicU32::new(now),
            blocked_since: AtomicU32::new(0),
            moved_since: AtomicU32::new(now),
            sending: Default::default(),
            reads_are_heads: AtomicBool::new(false),
            verdict: AtomicU8::new(0),
            waker: OnceLock::new(),
        })
    }

    /// Both ends of the connection, where they are known.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.ends
    }

    /// From now on, bytes that come while no request is in flight begin a head.
    pub(super) fn reads_are_heads(&self) {
        self.reads_are_heads.store(true, Relaxed);
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        if self.reads_are_heads.load(Relaxed) && self.in_flight.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0
        {
            self.head_since.store(self.clock.now(), Relaxed);
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(self: &Arc<Pulse>) -> InFlight {
        self.head_since.store(0, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { pulse: self.clone(), generation: None }
    }

    /// The peer took bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        let now = self.clock.now();
        self.blocked_since.store(0, Relaxed);
        self.quiet_since.store(now, Relaxed);
        if bytes > LONGEST_PING {
            self.moved_since.store(now, Relaxed);
        }
    }

    fn is_sending(&self) -> bool {
        self.sending.iter().any(|count| count.load(Relaxed) > 0)
    }

    /// Bytes wait, and the peer takes none.
    pub(super) fn blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(self.clock.now(), Relaxed);
        }
    }

    /// Remembers the connection's task, so that a verdict wakes it. A task's waker never changes.
    pub(super) fn attend(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::Live,
            1 => Verdict::Finish,
            _ => Verdict::Abort,
        }
    }

    fn pronounce(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection if it is overdue. To be called once per tick.
    pub(super) fn sweep(&self) -> Option<Overdue> {
        if self.verdict() == Verdict::Abort {
            return None;
        }
        let overdue = self.overdue()?;
        let verdict = match (overdue, self.verdict()) {
            (Overdue::Idle, Verdict::Live) => Verdict::Finish,
            // An idle peer that does not answer the farewell either gets another idle time, then no more.
            _ => Verdict::Abort,
        };
        self.quiet_since.store(self.clock.now(), Relaxed);
        self.pronounce(verdict);
        Some(overdue)
    }

    fn overdue(&self) -> Option<Overdue> {
        let (clock, patience) = (&self.clock, &self.clock.0);
        let blocked = self.blocked_since.load(Relaxed);
        if blocked != 0 && clock.past(blocked, &patience.write)
            || self.is_sending() && clock.past(self.moved_since.load(Relaxed), &patience.write)
            || clock.turns() && self.sending[clock.generation()].load(Relaxed) > 0
        {
            return Some(Overdue::Write);
        }
        match (blocked, self.head_since.load(Relaxed), self.in_flight.load(Relaxed)) {
            (0, 0, 0) => clock.past(self.quiet_since.load(Relaxed), &patience.idle).then_some(Overdue::Idle),
            (0, head, 0) => clock.past(head, &patience.header).then_some(Overdue::Header),
            _ => None,
        }
    }

    /// The server drains: what is in flight may finish; a connection that has not even begun a request is closed.
    pub(super) fn drain(&self) {
        let owes_all = self.head_since.load(Relaxed) != 0 && self.in_flight.load(Relaxed) == 0;
        self.pronounce(if owes_all { Verdict::Abort } else { Verdict::Finish });
    }
}

/// A request whose answer is not handed over yet; ends when dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    pulse: Arc<Pulse>,
    /// Of its answer, once that is on its way.
    generation: Option<usize>,
}

impl InFlight {
    /// The answer is known; from now on it is the peer that takes its time.
    pub(super) fn answered(&mut self) {
        let pulse = &self.pulse;
        if !pulse.is_sending() {
            pulse.moved_since.store(pulse.clock.now(), Relaxed);
        }
        let generation = pulse.clock.generation();
        pulse.sending[generation].fetch_add(1, Relaxed);
        self.generation = Some(generation);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pulse.in_flight.fetch_sub(1, Relaxed);
        self.pulse.quiet_since.store(self.pulse.clock.now(), Relaxed);
        if let Some(generation) = self.generation {
            self.pulse.sending[generation].fetch_sub(1, Relaxed);
        }
    }
}

/// Bytes; a write no longer than this may be HTTP/2's own talk in a TLS record, and moves no answer.
const LONGEST_PING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (Clock, Arc<Pulse>) {
        let clock = Clock::new(Patience { header: 2, idle: 5, write: 3, answer: 8 });
        let pulse = Pulse::new(clock.clone(), None);
        pulse.reads_are_heads();
        (clock, pulse)
    }

    /// How many ticks pass until the pulse is overdue, and why; `each` happens after every tick.
    fn ticks(clock: &Clock, pulse: &Pulse, each: impl Fn()) -> Option<(u32, Overdue)> {
        (0..20).find_map(|n| {
            let found = pulse.sweep().map(|overdue| (n, overdue));
            clock.advance();
            each();
            found
        })
    }

    #[test]
    fn a_connection_owes_a_request_from_the_start() {
        let (clock, pulse) = fresh();
        assert_eq!(ticks(&clock, &pulse, || ()), Some((3, Overdue::Header)));
        assert_eq!(pulse.verdict(), Verdict::Abort);
    }

    #[test]
    fn an_idle_connection_is_asked_to_finish_then_closed() {
        let (clock, pulse) = fresh();
        drop(pulse.begin());
        assert_eq!(ticks(&clock, &pulse, || ()), Some((6, Overdue::Idle)));
        assert_eq!(pulse.verdict(), Verdict::Finish);
        assert!(ticks(&clock, &pulse, || ()).is_some());
        assert_eq!(pulse.verdict(), Verdict::Abort);
    }

    #[test]
    fn a_held_request_is_never_overdue() {
        let (clock, pulse) = fresh();
        let held = pulse.begin();
        assert_eq!(ticks(&clock, &pulse, || ()), None);
        drop(held);
        assert_eq!(ticks(&clock, &pulse, || ()), Some((6, Overdue::Idle)));
    }

    #[test]
    fn a_second_head_has_its_own_deadline() {
        let (clock, pulse) = fresh();
        drop(pulse.begin());
        clock.advance();
        pulse.read();
        assert_eq!(ticks(&clock, &pulse, || pulse.read()), Some((3, Overdue::Header)));
    }

    #[test]
    fn a_socket_that_takes_nothing_is_overdue() {
        let (clock, pulse) = fresh();
        let _held = pulse.begin();
        let moving = ticks(&clock, &pulse, || {
            pulse.wrote(1);
            pulse.blocked();
        });
        assert_eq!(moving, None);
        assert_eq!(ticks(&clock, &pulse, || ()), Some((4, Overdue::Write)));
        assert_eq!(pulse.verdict(), Verdict::Abort);
    }

    #[test]
    fn pings_do_not_move_an_answer() {
        let (clock, pulse) = fresh();
        let mut answer = pulse.begin();
        clock.advance();
        answer.answered();
        assert_eq!(ticks(&clock, &pulse, || pulse.wrote(17)), Some((4, Overdue::Write)));
    }

    #[test]
    fn an_answer_taken_in_drops_is_overdue_at_last() {
        let (clock, pulse) = fresh();
        let mut answer = pulse.begin();
        answer.answered();
        let others = || {
            pulse.wrote(100);
            pulse.begin().answered();
        };
        assert_eq!(ticks(&clock, &pulse, others), Some((15, Overdue::Write)));
        // While many that are taken in time never are.
        let (clock, pulse) = fresh();
        assert_eq!(ticks(&clock, &pulse, || pulse.begin().answered()), None);
    }

    #[test]
    fn other_waits_hold_for_what_goes_on_and_cut_off_no_answer_early() {
        let (clock, pulse) = fresh();
        drop(pulse.begin());
        clock.set_patience(Patience { header: 2, idle: 1, write: 3, answer: 8 });
        assert_eq!(ticks(&clock, &pulse, || ()), Some((2, Overdue::Idle)));
        let (clock, pulse) = fresh();
        (0..10).for_each(|_| clock.advance());
        let mut answer = pulse.begin();
        answer.answered();
        clock.set_patience(Patience { header: 2, idle: 1, write: 3, answer: 5 });
        let (ticks, _) = ticks(&clock, &pulse, || pulse.wrote(100)).unwrap_or((0, Overdue::Idle));
        assert!(ticks >= 5, "{ticks}");
    }

    #[test]
    fn draining_spares_what_is_in_flight() {
        let (_, pulse) = fresh();
        pulse.drain();
        assert_eq!(pulse.verdict(), Verdict::Abort);
        let (_, pulse) = fresh();
        let _held = pulse.begin();
        pulse.drain();
        assert_eq!(pulse.verdict(), Verdict::Finish);
    }
}
