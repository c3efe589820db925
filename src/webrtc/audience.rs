//! How many viewers each stream has over WebRTC, and how many sessions of viewers each network, kept as they come and go, so
//! that asking costs one look. The registry changes it under its lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Whose media can flow, by stream.
    streams: HashMap<String, usize>,
    /// Offered or connected, by network.
    networks: HashMap<IpAddr, usize>,
    connected: usize,
}

impl Audience {
    /// A viewer's offer was taken in.
    pub(super) fn offered(&mut self, network: IpAddr) {
        *self.networks.entry(network).or_default() += 1;
    }

    /// Its media can flow.
    pub(super) fn connected(&mut self, stream: &str) {
        self.connected += 1;
        match self.streams.get_mut(stream) {
            Some(count) => *count += 1,
            None => drop(self.streams.insert(stream.to_owned(), 1)),
        }
    }

    /// It is over; `connected`: it was.
    pub(super) fn gone(&mut self, stream: &str, network: IpAddr, connected: bool) {
        less(&mut self.networks, &network);
        if connected {
            self.connected -= 1;
            less(&mut self.streams, stream);
        }
    }

    /// Connected viewers of a stream.
    pub(super) fn of(&self, stream: &str) -> usize {
        self.streams.get(stream).copied().unwrap_or_default()
    }

    /// Sessions of a network, connected or not.
    pub(super) fn from(&self, network: IpAddr) -> usize {
        self.networks.get(&network).copied().unwrap_or_default()
    }

    /// Connected viewers of all streams.
    pub(super) fn all(&self) -> usize {
        self.connected
    }
}

/// One less; none leaves nothing behind.
fn less<K: Eq + Hash + std::borrow::Borrow<Q>, Q: Eq + Hash + ?Sized>(counts: &mut HashMap<K, usize>, key: &Q) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn who_comes_and_goes_leaves_nothing_behind() {
        let mut audience = Audience::default();
        let network = IpAddr::V4(Ipv4Addr::LOCALHOST);
        audience.offered(network);
        audience.offered(network);
        assert_eq!((audience.of("show"), audience.from(network), audience.all()), (0, 2, 0));
        audience.connected("show");
        assert_eq!((audience.of("show"), audience.of("other"), audience.all()), (1, 0, 1));
        audience.gone("show", network, true);
        audience.gone("show", network, false);
        assert_eq!((audience.of("show"), audience.from(network), audience.all()), (0, 0, 0));
        assert!(audience.streams.is_empty() && audience.networks.is_empty());
    }
}
