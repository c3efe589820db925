//! Who may come in: a bound on connections, and one per address on those that do not publish yet. Over the first, the
//! newcomer is turned away; over the second, the one of that address that waits longest has to go, so that peers who
//! hold connections half open cannot keep a real publisher out. Owned by the listeners, together.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The door.
#[derive(Debug)]
pub(super) struct Door {
    max_open: AtomicUsize,
    max_waiting: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    open: usize,
    last: u64,
    /// Those that do not publish yet, the oldest first. Not more than `open` together.
    waiting: HashMap<IpAddr, VecDeque<(u64, CancellationToken)>>,
}

impl Door {
    /// For `max_open` connections, and `max_waiting` per address that do not publish yet.
    pub(super) fn new(max_open: usize, max_waiting: usize) -> Door {
        Door { max_open: AtomicUsize::new(max_open), max_waiting: max_waiting.max(1), inside: Mutex::default() }
    }

    /// Lets a connection in, or None if there is no room.
    pub(super) fn enter(self: &Arc<Door>, peer: IpAddr) -> Option<Pass> {
        let mut inside = self.inside();
        if inside.open >= self.max_open.load(Ordering::Relaxed) {
            return None;
        }
        inside.open += 1;
        inside.last += 1;
        let pass =
            Pass { door: self.clone(), address: network(peer), id: inside.last, evicted: CancellationToken::new() };
        let queue = inside.waiting.entry(pass.address).or_default();
        queue.push_back((pass.id, pass.evicted.clone()));
        if queue.len() > self.max_waiting
            && let Some((_, oldest)) = queue.pop_front()
        {
            oldest.cancel();
        }
        Some(pass)
    }

    /// Another bound on connections. Those who are inside stay.
    pub(super) fn resize(&self, max_open: usize) {
        self.max_open.store(max_open, Ordering::Relaxed);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place inside. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    address: IpAddr,
    id: u64,
    /// Cancelled when this connection has to make room.
    pub(super) evicted: CancellationToken,
}

impl Pass {
    /// It publishes: nobody can push it out any more.
    pub(super) fn publishes(&self) {
        self.stop_waiting(&mut self.door.inside());
    }

    fn stop_waiting(&self, inside: &mut Inside) {
        if let Some(queue) = inside.waiting.get_mut(&self.address) {
            queue.retain(|(id, _)| *id != self.id);
            if queue.is_empty() {
                inside.waiting.remove(&self.address);
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.open -= 1;
        self.stop_waiting(&mut inside);
    }
}

/// What counts as one address: in IPv6 everybody has a /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_house_turns_newcomers_away() {
        let door = Arc::new(Door::new(2, 10));
        let first = door.enter(ip("192.0.2.1")).unwrap();
        let _second = door.enter(ip("192.0.2.2")).unwrap();
        assert!(door.enter(ip("192.0.2.3")).is_none());
        drop(first);
        assert!(door.enter(ip("192.0.2.3")).is_some());
        door.resize(1);
        assert!(door.enter(ip("192.0.2.4")).is_none());
    }

    #[test]
    fn the_one_that_waits_longest_makes_room() {
        let door = Arc::new(Door::new(100, 2));
        let enter = |address| door.enter(ip(address)).unwrap();
        let (a, b) = (enter("2001:db8::1"), enter("2001:db8::2"));
        let elsewhere = enter("2001:db8:1::1");
        a.publishes();
        let c = enter("2001:db8::3");
        assert!([&a, &b, &c].iter().all(|pass| !pass.evicted.is_cancelled()));
        let _d = enter("2001:db8::4");
        assert!(b.evicted.is_cancelled() && !c.evicted.is_cancelled() && !a.evicted.is_cancelled());
        assert!(!elsewhere.evicted.is_cancelled());
    }

    #[test]
    fn nothing_is_left_behind() {
        let door = Arc::new(Door::new(100, 2));
        drop((0..10).map(|_| door.enter(ip("192.0.2.1")).unwrap()).collect::<Vec<_>>());
        assert!(door.inside().open == 0 && door.inside().waiting.is_empty());
    }
}
