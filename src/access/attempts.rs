//! Failed attempts by address: who showed wrong keys has to wait, longer each time, and what is refused by the thousand is told
//! once a minute. Bounded, whoever comes from wherever.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Action;

/// How much patience there is with wrong keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Wrong keys of one address that cost nothing.
    pub free: u32,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { free: 10, longest: Duration::from_secs(300) }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// What one address did, apart for what it wanted to do: who shows a wrong key to watch may publish all the same.
    entries: HashMap<Who, Entry>,
    /// The same by their last turn, so that the one that was quiet for the longest makes room.
    order: BTreeMap<u64, Who>,
    turn: u64,
    /// What was told since when, of all addresses.
    told: Option<(Instant, u32)>,
}

type Who = (IpAddr, Action);

#[derive(Debug)]
struct Entry {
    turn: u64,
    failures: u32,
    /// When the last wrong key came, and until when none is looked at.
    last: Instant,
    until: Instant,
    /// Refusals that nobody was told of, and when somebody was.
    untold: u64,
    told: Option<Instant>,
}

impl Attempts {
    /// How long this address has to wait yet.
    pub(super) fn wait(&self, address: IpAddr, action: Action, now: Instant) -> Option<Duration> {
        let table = self.table();
        let until = table.entries.get(&(network(address), action))?.until;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// A wrong key came. This machine itself never waits: behind a proxy on it stands everybody.
    pub(super) fn failed(&self, address: IpAddr, action: Action, patience: Patience, now: Instant) {
        if address.to_canonical().is_loopback() {
            return;
        }
        let mut table = self.table();
        let entry = table.entry((network(address), action), now);
        if now.saturating_duration_since(entry.last) > FORGET.max(patience.longest * 2) {
            entry.failures = 0;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last = now;
        if let Some(over) = entry.failures.checked_sub(patience.free).filter(|over| *over > 0) {
            let wait = Duration::from_secs(1 << (over - 1).min(20));
            entry.until = now + wait.min(patience.longest);
        }
    }

    /// Something was refused. How many refusals of this address should be told of now, if any.
    pub(super) fn refused(&self, address: IpAddr, action: Action, now: Instant) -> Option<u64> {
        let mut table = self.table();
        let entry = table.entry((network(address), action), now);
        entry.untold += 1;
        let due = entry.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL);
        if !due || !table.may_tell(now) {
            return None;
        }
        let entry = table.entry((network(address), action), now);
        entry.told = Some(now);
        Some(std::mem::take(&mut entry.untold))
    }

    /// Refusals that nobody was told of for a minute, of addresses that came no more.
    pub(super) fn untold(&self, now: Instant) -> Vec<(IpAddr, Action, u64)> {
        let mut table = self.table();
        let mut found = Vec::new();
        for ((address, action), entry) in &mut table.entries {
            if entry.untold > 0 && entry.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL) {
                entry.told = Some(now);
                found.push((*address, *action, std::mem::take(&mut entry.untold)));
            }
        }
        found.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        found.truncate(MOST_TOLD as usize);
        found
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What is known of an address, which has its turn now.
    fn entry(&mut self, who: Who, now: Instant) -> &mut Entry {
        self.turn += 1;
        let turn = self.turn;
        if let Some(old) = self.entries.get(&who) {
            self.order.remove(&old.turn);
        } else if self.entries.len() >= MOST
            && let Some((_, quiet)) = self.order.pop_first()
        {
            self.entries.remove(&quiet);
        }
        self.order.insert(turn, who);
        let fresh = || Entry { turn, failures: 0, last: now, until: now, untold: 0, told: None };
        let entry = self.entries.entry(who).or_insert_with(fresh);
        entry.turn = turn;
        entry
    }

    /// Whether there is room for one more line in this minute.
    fn may_tell(&mut self, now: Instant) -> bool {
        let (since, count) =
            self.told.filter(|(since, _)| now.saturating_duration_since(*since) < TELL).unwrap_or((now, 0));
        self.told = Some((since, count.saturating_add(1)));
        count < MOST_TOLD
    }
}

/// What counts as one address: in IPv6 everybody has a /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Addresses that are remembered: about a megabyte.
const MOST: usize = 8_192;
/// Who shows no wrong key for so long begins anew.
const FORGET: Duration = Duration::from_secs(600);
/// How often refusals of one address are told of.
const TELL: Duration = Duration::from_secs(60);
/// Addresses that are told of in that time.
const MOST_TOLD: u32 = 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
    const PUBLISH: Action = Action::Publish;

    fn patience() -> Patience {
        Patience { free: 3, longest: Duration::from_secs(60) }
    }

    #[test]
    fn waits_grow_with_wrong_keys_and_end() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..11 {
            attempts.failed(SOMEBODY, PUBLISH, patience(), now);
            let wait = attempts.wait(SOMEBODY, PUBLISH, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(attempts.wait(SOMEBODY, PUBLISH, now), None);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(attempts.wait(SOMEBODY, Action::Play, now), None);
        now += Duration::from_secs(601);
        attempts.failed(SOMEBODY, PUBLISH, patience(), now);
        assert_eq!(attempts.wait(SOMEBODY, PUBLISH, now), None, "what is long past is forgotten");
    }

    #[test]
    fn one_network_of_ipv6_is_one_address_and_this_machine_never_waits() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let fail = |text: &str| attempts.failed(text.parse().unwrap(), PUBLISH, patience(), now);
        (0..4).for_each(|n| fail(&format!("2001:db8::{n}")));
        (0..9).for_each(|_| fail("::1"));
        (0..9).for_each(|_| fail("::ffff:127.0.0.1"));
        let waits = |text: &str| attempts.wait(text.parse().unwrap(), PUBLISH, now).is_some();
        assert!(waits("2001:db8::99") && !waits("2001:db8:0:1::1") && !waits("::1") && !waits("127.0.0.1"));
    }

    #[test]
    fn refusals_are_told_once_a_minute_with_their_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let refused = |after| attempts.refused(SOMEBODY, PUBLISH, now + Duration::from_secs(after));
        assert_eq!(refused(0), Some(1));
        assert!((0..500).all(|_| refused(1).is_none()));
        assert_eq!(refused(60), Some(501));
        assert_eq!(refused(61), None);
        assert!(attempts.untold(now + Duration::from_secs(61)).is_empty());
        assert_eq!(attempts.untold(now + Duration::from_secs(120)), [(SOMEBODY, PUBLISH, 1)]);
    }

    #[test]
    fn a_crowd_of_addresses_is_bounded_in_memory_and_in_the_log() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        (0..4).for_each(|_| attempts.failed(SOMEBODY, PUBLISH, patience(), now));
        let mut told = 0;
        for n in 0..100_000_u32 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(n));
            attempts.failed(address, PUBLISH, patience(), now);
            told += u64::from(attempts.refused(address, PUBLISH, now).is_some());
            if n % 1_000 == 0 {
                // Who goes on is remembered.
                told += u64::from(attempts.refused(SOMEBODY, PUBLISH, now).is_some());
            }
        }
        let table = attempts.table();
        assert_eq!((table.entries.len(), table.order.len()), (MOST, MOST));
        assert_eq!(told, u64::from(MOST_TOLD));
        drop(table);
        assert!(attempts.wait(SOMEBODY, PUBLISH, now).is_some());
    }
}
