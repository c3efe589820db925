//! What a ladder gives up when the machine cannot carry it: from the top down, of each rung first half its pictures, then
//! the rung. Taken back step by step. Pure; owned by a stream's ladder, and judged once a second or so.

use std::time::{Duration, Instant};

/// What is left of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it.
    Whole,
    /// Every other picture.
    Half,
    /// Nothing.
    Nothing,
}

/// The state of giving up.
#[derive(Debug)]
pub(super) struct Load {
    step: usize,
    /// Since when the machine has been too slow, or fast enough, without interruption.
    since: Instant,
    slow: bool,
    /// How long it must have been fast enough before a step is taken back. Doubles each time that was too early.
    patience: Duration,
    taken_back: Option<Instant>,
}

impl Load {
    /// Nothing is given up.
    pub(super) fn new(now: Instant) -> Load {
        Load { step: 0, since: now, slow: false, patience: PATIENCE, taken_back: None }
    }

    /// Tells how it goes at `now`, of a ladder of so many rungs. True: something else is left from now on.
    pub(super) fn judge(&mut self, now: Instant, slow: bool, rungs: usize) -> bool {
        if slow != self.slow {
            (self.slow, self.since) = (slow, now);
        }
        let lasted = now.saturating_duration_since(self.since);
        if slow && lasted >= TOLERANCE && self.step < 2 * rungs {
            if self.taken_back.is_some_and(|at| now.saturating_duration_since(at) < self.patience) {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            self.step += 1;
            self.since = now;
            return true;
        }
        if !slow && lasted >= self.patience && self.step > 0 {
            self.step -= 1;
            self.since = now;
            self.taken_back = Some(now);
            return true;
        }
        false
    }

    /// What is left of a rung, counted from the top.
    pub(super) fn left(&self, rung: usize) -> Left {
        match self.step.saturating_sub(2 * rung) {
            0 => Left::Whole,
            1 => Left::Half,
            _ => Left::Nothing,
        }
    }

    /// Steps that are given up.
    pub(super) fn step(&self) -> usize {
        self.step
    }
}

/// Slowness shorter than this is a hiccup: of the machine, or of an encoder that catches up.
const TOLERANCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_PATIENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(load: &mut Load, now: &mut Instant, seconds: u64, slow: bool) -> usize {
        let mut changes = 0;
        for _ in 0..seconds {
            *now += Duration::from_secs(1);
            changes += usize::from(load.judge(*now, slow, 2));
        }
        changes
    }

    #[test]
    fn rungs_are_given_up_from_the_top_and_taken_back_from_the_bottom() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        assert_eq!(run(&mut load, &mut now, 2, true), 0);
        assert_eq!(run(&mut load, &mut now, 2, true), 1);
        assert_eq!((load.left(0), load.left(1)), (Left::Half, Left::Whole));
        run(&mut load, &mut now, 6, true);
        assert_eq!((load.left(0), load.left(1), load.step()), (Left::Nothing, Left::Half, 3));
        run(&mut load, &mut now, 60, true);
        assert_eq!((load.left(0), load.left(1), load.step()), (Left::Nothing, Left::Nothing, 4));
        run(&mut load, &mut now, 40, false);
        assert_eq!((load.left(0), load.left(1)), (Left::Nothing, Left::Half));
        assert_eq!(run(&mut load, &mut now, 300, false), 3);
        assert_eq!(load.step(), 0);
    }

    #[test]
    fn taking_back_too_early_makes_patient() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        run(&mut load, &mut now, 4, true);
        assert_eq!(run(&mut load, &mut now, 32, false), 1);
        run(&mut load, &mut now, 5, true);
        assert_eq!(load.step(), 1);
        assert_eq!(run(&mut load, &mut now, 50, false), 0, "the second time it waits for a minute");
        assert_eq!(run(&mut load, &mut now, 15, false), 1);
    }
}
