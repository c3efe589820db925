//! Sessions by address, where their number is bounded: a session holds a [`Seat`] for as long as it lives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attempts::network;

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    /// Not more entries than sessions.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One session's place among those of its address. Dropping the last clone frees it.
#[derive(Clone, Debug)]
pub struct Seat(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    /// A place for one more session of this address, if it has fewer than `most`.
    pub(super) fn take(&self, address: IpAddr, most: usize) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat(Arc::new(Taken { seats: self.clone(), address })))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Seat) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Seat {}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_nothing_is_left_behind() {
        let seats = Seats::default();
        let take = |text: &str| seats.take(text.parse().unwrap(), 2);
        let (first, second) = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert!(take("2001:db8::3").is_none() && take("203.0.113.7").is_some());
        let again = first.clone();
        drop(first);
        assert!(take("2001:db8::3").is_none());
        drop((again, second));
        assert!(take("2001:db8::3").is_some() && seats.taken().is_empty());
    }
}
