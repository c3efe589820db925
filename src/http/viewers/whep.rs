//! Viewers over WebRTC: who they are is in `webrtc`; here is kept which of them were told of, so that each comes and goes once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One session that was offered.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) stream: Box<str>,
    pub(super) peer: IpAddr,
    pub(super) agent: Box<str>,
    /// It was told of.
    joined: bool,
}

/// What has changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) joined: Vec<(String, Guest)>,
    pub(super) left: Vec<(String, Guest)>,
}

/// All of them, by id; as many as `webrtc` has sessions.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<HashMap<String, Guest>>);

impl Guests {
    /// An offer was answered.
    pub(super) fn offered(&self, id: &str, stream: &str, peer: IpAddr, agent: &str) {
        let guest = Guest { stream: stream.into(), peer, agent: agent.into(), joined: false };
        self.lock().insert(id.to_owned(), guest);
    }

    /// Asks for each whether its media flows; None: it is over.
    pub(super) fn look(&self, is_connected: impl Fn(&str) -> Option<bool>) -> Changes {
        let mut changes = Changes::default();
        self.lock().retain(|id, guest| {
            let Some(connected) = is_connected(id) else {
                if guest.joined {
                    changes.left.push((id.clone(), guest.clone()));
                }
                return false;
            };
            if connected && !guest.joined {
                guest.joined = true;
                changes.joined.push((id.clone(), guest.clone()));
            }
            true
        });
        changes
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_comes_and_goes_once() {
        let guests = Guests::default();
        guests.offered("a", "show", Ipv4Addr::LOCALHOST.into(), "test");
        guests.offered("b", "show", Ipv4Addr::LOCALHOST.into(), "test");
        let told = |fate: Option<bool>| {
            let changes = guests.look(|id| if id == "a" { fate } else { None });
            (changes.joined.len(), changes.left.len())
        };
        assert_eq!(told(Some(false)), (0, 0));
        assert_eq!(told(Some(true)), (1, 0));
        assert_eq!(told(Some(true)), (0, 0));
        assert_eq!(told(None), (0, 1));
        assert_eq!(told(None), (0, 0));
    }
}
