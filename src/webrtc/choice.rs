//! Which rendition a viewer is sent: down at once when the link does not carry the present one, up when there has been room
//! for a while and a probe has shown it. Pure; `worker` asks once a second.

use std::time::{Duration, Instant};

/// The state of one viewer's choice.
#[derive(Debug)]
pub(super) struct Choice {
    changed: Option<Instant>,
    rose: Option<Instant>,
    /// How long there must have been room before the next try upwards.
    patience: Duration,
    poor: u32,
    probing: Option<usize>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Advice {
    /// Nothing.
    Stay,
    /// Send so many bits a second beyond what plays until the next look, to see whether they get through.
    Probe(f64),
    /// Go over to this one.
    Take(usize),
}

impl Choice {
    /// Before anything is known.
    pub(super) fn new() -> Choice {
        Choice { changed: None, rose: None, patience: PATIENCE, poor: 0, probing: None }
    }

    /// One look. `rates`: bits a second of all renditions, the best first; `estimate`: what the link carries.
    pub(super) fn look(&mut self, now: Instant, estimate: f64, rates: &[f64], current: usize) -> Advice {
        let Some(&rate) = rates.get(current) else { return Advice::Stay };
        let since = *self.changed.get_or_insert(now);
        if estimate < rate * TIGHT {
            self.poor += 1;
            self.probing = None;
            if self.poor >= POOR && now.saturating_duration_since(since) >= SETTLE {
                return self.fall(now, estimate, rates, current);
            }
            return Advice::Stay;
        }
        self.poor = 0;
        let Some(better) = current.checked_sub(1) else { return Advice::Stay };
        let needed = rates[better] * ROOM;
        if now.saturating_duration_since(since) < self.patience {
            return Advice::Stay;
        }
        match self.probing.take() {
            // The probe went through, and the link is still said to carry it.
            Some(probed) if probed == better && estimate >= needed => {
                (self.changed, self.rose) = (Some(now), Some(now));
                Advice::Take(better)
            }
            Some(_) => {
                self.wait_longer(now);
                Advice::Stay
            }
            None if estimate >= needed => {
                self.probing = Some(better);
                Advice::Probe(needed - rate)
            }
            None => Advice::Stay,
        }
    }

    fn fall(&mut self, now: Instant, estimate: f64, rates: &[f64], current: usize) -> Advice {
        let fits = (current + 1..rates.len()).find(|at| rates[*at] <= estimate * FITS);
        let Some(to) = fits.or(rates.len().checked_sub(1).filter(|last| *last > current)) else { return Advice::Stay };
        if self.rose.is_some_and(|rose| now.saturating_duration_since(rose) < PATIENCE) {
            // What was tried too early is not tried again so soon.
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        } else {
            self.patience = PATIENCE;
        }
        (self.changed, self.poor) = (Some(now), 0);
        Advice::Take(to)
    }

    fn wait_longer(&mut self, now: Instant) {
        self.patience = (self.patience * 2).min(MOST_PATIENCE);
        self.changed = Some(now);
    }
}

/// Below this part of what plays, the link does not carry it.
const TIGHT: f64 = 0.95;
/// So many looks in a row.
const POOR: u32 = 2;
/// What goes down to takes at most this part of the link.
const FITS: f64 = 0.85;
/// What goes up to needs so much more than its rate.
const ROOM: f64 = 1.2;
/// A change shows its effect within this time.
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(8);
const MOST_PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [f64; 3] = [3e6, 1.5e6, 6e5];

    /// Looks once a second for so long; what was taken, with the second.
    fn run(
        choice: &mut Choice,
        start: Instant,
        at: &mut usize,
        seconds: std::ops::Range<u64>,
        link: f64,
    ) -> Vec<(u64, usize)> {
        let mut taken = Vec::new();
        for second in seconds {
            let estimate = if RATES[*at] > link { link } else { link.min(RATES[*at] * 3.0) };
            if let Advice::Take(to) = choice.look(start + Duration::from_secs(second), estimate, &RATES, *at) {
                *at = to;
                taken.push((second, to));
            }
        }
        taken
    }

    #[test]
    fn down_in_seconds_up_with_patience_and_not_to_and_fro() {
        let (mut choice, start, mut at) = (Choice::new(), Instant::now(), 0);
        assert_eq!(run(&mut choice, start, &mut at, 0..10, 20e6), []);
        let down = run(&mut choice, start, &mut at, 10..20, 1e6);
        assert_eq!(down, [(11, 2)], "to the one that fits, in one step");
        assert_eq!(run(&mut choice, start, &mut at, 20..60, 1e6), [], "no room, no try");
        let up = run(&mut choice, start, &mut at, 60..100, 20e6);
        assert_eq!(up.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [1, 0], "step by step");
        assert!(up[1].0 - up[0].0 >= 8);
    }

    #[test]
    fn a_probe_that_shows_no_room_is_not_repeated_soon() {
        let (mut choice, start) = (Choice::new(), Instant::now());
        let mut probes = Vec::new();
        let mut hopeful = true;
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            // The estimate grows while nothing is sent, and falls with each probe.
            let estimate = if hopeful { 4e6 } else { 1.6e6 };
            hopeful = true;
            match choice.look(now, estimate, &RATES, 1) {
                Advice::Probe(bits) => {
                    assert!((bits - 2.1e6).abs() < 1.0);
                    probes.push(second);
                    hopeful = false;
                }
                Advice::Take(_) => panic!("there is no room"),
                Advice::Stay => {}
            }
        }
        assert!((3..=6).contains(&probes.len()), "{probes:?}");
        assert!(probes.windows(3).all(|w| w[2] - w[1] >= w[1] - w[0]), "{probes:?}");
    }
}
