//! When something that is seen becomes a finding, and when it is gone: late to appear, later to clear, so that nothing
//! flaps. Pure.

use super::finding::{Seen, Severity};
use crate::media::Time;

/// One code's state in one stream.
#[derive(Debug, Default)]
pub(super) struct Symptom {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Absent,
    /// Seen, and not for long enough yet.
    Suspected { since: Time },
    /// A finding; `last`: when it was last seen to be as bad as it is said to be.
    Present { severity: Severity, last: Time },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing new; not present.
    Absent,
    /// It is a finding now, or a worse or lighter one than it was.
    Found(Severity),
    /// It still is one, and as bad.
    Stays,
    /// It no longer is.
    Cleared,
}

/// So long something must be seen before it is said: two looks more than a passing moment.
const APPEARS: Time = Time::from_millis(3_000);
/// So long it must be gone before it is taken back: a broadcaster reads the page at such intervals.
const CLEARS: Time = Time::from_millis(15_000);

impl Symptom {
    /// One look at `now`.
    pub(super) fn look(&mut self, seen: Option<&Seen>, now: Time) -> Turn {
        match (&mut self.state, seen.map(|seen| seen.severity)) {
            (State::Absent, None) => Turn::Absent,
            (State::Suspected { .. }, None) => {
                self.state = State::Absent;
                Turn::Absent
            }
            (State::Absent, Some(_)) => {
                self.state = State::Suspected { since: now };
                Turn::Absent
            }
            (State::Suspected { since }, Some(_)) if now - *since < APPEARS => Turn::Absent,
            (State::Suspected { .. }, Some(severity)) => self.found(severity, now),
            (State::Present { severity, .. }, Some(worse)) if worse > *severity => self.found(worse, now),
            (State::Present { severity, last }, Some(same)) if same == *severity => {
                *last = now;
                Turn::Stays
            }
            (State::Present { last, .. }, _) if now - *last < CLEARS => Turn::Stays,
            (State::Present { .. }, Some(lighter)) => self.found(lighter, now),
            (State::Present { .. }, None) => {
                self.state = State::Absent;
                Turn::Cleared
            }
        }
    }

    fn found(&mut self, severity: Severity, now: Time) -> Turn {
        self.state = State::Present { severity, last: now };
        Turn::Found(severity)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Code;
    use super::*;

    fn turns(looks: &str) -> Vec<(i64, Turn)> {
        let mut symptom = Symptom::default();
        let mut turns = Vec::new();
        for (second, look) in (0..).zip(looks.chars()) {
            let severity = match look {
                'i' => Some(Severity::Info),
                'w' => Some(Severity::Warning),
                'p' => Some(Severity::Problem),
                _ => None,
            };
            let seen = severity.map(|severity| Seen::new(Code::GopLong, severity, "", ""));
            match symptom.look(seen.as_ref(), Time::from_millis(second * 1000)) {
                Turn::Absent | Turn::Stays => {}
                turn => turns.push((second, turn)),
            }
        }
        turns
    }

    #[test]
    fn what_passes_is_not_said() {
        assert_eq!(turns("www.www.w.w.w.ww"), []);
        assert_eq!(turns("wwww"), [(3, Turn::Found(Severity::Warning))]);
    }

    #[test]
    fn what_pauses_is_not_taken_back() {
        assert_eq!(turns("wwww..........w.............").len(), 1);
        assert_eq!(turns("wwww...............").last(), Some(&(18, Turn::Cleared)));
    }

    #[test]
    fn worse_is_said_at_once_and_better_later() {
        let found = Turn::Found;
        let expected = [(3, found(Severity::Warning)), (4, found(Severity::Problem)), (19, found(Severity::Warning))];
        assert_eq!(turns("wwwwpwwwwwwwwwwwwwwwwww"), expected);
    }
}
