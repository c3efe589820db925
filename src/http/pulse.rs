//! One connection's vital signs, and the verdicts drawn from them: no head in time, idle for long, a peer that takes no
//! bytes. The connection's task writes them, its worker reads them once per tick; so no request arms or resets a timer.
//!
//! Times are ticks of the worker's [`Clock`]: reading one is a load, where the system's clock would be a call.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// Counts ticks from 1; 0 stands for "not".
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicU32>);

impl Clock {
    pub(super) fn new() -> Clock {
        Clock(Arc::new(AtomicU32::new(1)))
    }

    pub(super) fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// How many ticks a peer may take for each thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) header: u32,
    pub(super) idle: u32,
    pub(super) write: u32,
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
    /// Requests whose answer has not been handed over completely.
    in_flight: AtomicU32,
    /// When the connection last had a request in flight or moved bytes.
    quiet_since: AtomicU32,
    /// When the head that is not complete yet began; 0 if none has.
    head_since: AtomicU32,
    /// When the peer last took bytes, while more wait for it; 0 if none wait.
    blocked_since: AtomicU32,
    /// Whether incoming bytes begin a head. Not so in HTTP/2, whose peers also send acknowledgements and pings.
    reads_are_heads: AtomicBool,
    verdict: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Pulse {
    /// Of a connection accepted now: it owes us a request.
    pub(super) fn new(clock: Clock) -> Arc<Pulse> {
        let now = clock.now();
        Arc::new(Pulse {
            clock,
            in_flight: AtomicU32::new(0),
            quiet_since: AtomicU32::new(now),
            head_since: AtomicU32::new(now),
            blocked_since: AtomicU32::new(0),
            reads_are_heads: AtomicBool::new(false),
            verdict: AtomicU8::new(0),
            waker: OnceLock::new(),
        })
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
        InFlight(self.clone())
    }

    /// The peer took bytes.
    pub(super) fn wrote(&self) {
        self.blocked_since.store(0, Relaxed);
        self.quiet_since.store(self.clock.now(), Relaxed);
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

    /// Ends the connection if it is overdue.
    pub(super) fn sweep(&self, patience: &Patience) -> Option<Overdue> {
        if self.verdict() == Verdict::Abort {
            return None;
        }
        let overdue = self.overdue(patience)?;
        let verdict = match (overdue, self.verdict()) {
            (Overdue::Idle, Verdict::Live) => Verdict::Finish,
            // An idle peer that does not answer the farewell either gets another idle time, then no more.
            _ => Verdict::Abort,
        };
        self.quiet_since.store(self.clock.now(), Relaxed);
        self.pronounce(verdict);
        Some(overdue)
    }

    fn overdue(&self, patience: &Patience) -> Option<Overdue> {
        let now = self.clock.now();
        let past = |since: u32, allowed: u32| now.wrapping_sub(since) > allowed;
        match (self.blocked_since.load(Relaxed), self.head_since.load(Relaxed), self.in_flight.load(Relaxed)) {
            (0, 0, 0) => past(self.quiet_since.load(Relaxed), patience.idle).then_some(Overdue::Idle),
            (0, head, 0) => past(head, patience.header).then_some(Overdue::Header),
            (0, _, _) => None,
            (blocked, _, _) => past(blocked, patience.write).then_some(Overdue::Write),
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
pub(super) struct InFlight(Arc<Pulse>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.0.quiet_since.store(self.0.clock.now(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { header: 2, idle: 5, write: 3 };

    fn fresh() -> (Clock, Arc<Pulse>) {
        let clock = Clock::new();
        let pulse = Pulse::new(clock.clone());
        pulse.reads_are_heads();
        (clock, pulse)
    }

    /// How many ticks pass until the pulse is overdue, and why.
    fn ticks(clock: &Clock, pulse: &Pulse) -> Option<(u32, Overdue)> {
        (0..20).find_map(|n| {
            let found = pulse.sweep(&PATIENCE).map(|overdue| (n, overdue));
            clock.advance();
            found
        })
    }

    #[test]
    fn a_connection_owes_a_request_from_the_start() {
        let (clock, pulse) = fresh();
        assert_eq!(ticks(&clock, &pulse), Some((3, Overdue::Header)));
        assert_eq!(pulse.verdict(), Verdict::Abort);
    }

    #[test]
    fn an_idle_connection_is_asked_to_finish_then_closed() {
        let (clock, pulse) = fresh();
        drop(pulse.begin());
        assert_eq!(ticks(&clock, &pulse), Some((6, Overdue::Idle)));
        assert_eq!(pulse.verdict(), Verdict::Finish);
        assert!(ticks(&clock, &pulse).is_some());
        assert_eq!(pulse.verdict(), Verdict::Abort);
    }

    #[test]
    fn a_request_in_flight_is_never_overdue() {
        let (clock, pulse) = fresh();
        let held = pulse.begin();
        assert_eq!(ticks(&clock, &pulse), None);
        drop(held);
        assert_eq!(ticks(&clock, &pulse), Some((6, Overdue::Idle)));
    }

    #[test]
    fn a_second_head_has_its_own_deadline() {
        let (clock, pulse) = fresh();
        drop(pulse.begin());
        clock.advance();
        pulse.read();
        clock.advance();
        pulse.read();
        assert_eq!(ticks(&clock, &pulse), Some((2, Overdue::Header)));
    }

    #[test]
    fn only_a_peer_that_takes_nothing_is_slow() {
        let (clock, pulse) = fresh();
        let _held = pulse.begin();
        for _ in 0..20 {
            pulse.blocked();
            clock.advance();
            assert_eq!(pulse.sweep(&PATIENCE), None);
            pulse.wrote();
        }
        pulse.blocked();
        assert_eq!(ticks(&clock, &pulse), Some((4, Overdue::Write)));
        assert_eq!(pulse.verdict(), Verdict::Abort);
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
