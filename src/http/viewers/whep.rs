//! Viewers over WebRTC: who they are is in `webrtc`; here is kept which of them were told of, so that each comes and goes once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// One session that was offered.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) stream: Box<str>,
    pub(super) peer: IpAddr,
    pub(super) agent: Box<str>,
    /// What let it in ends then.
    ends: Option<SystemTime>,
    /// It was told of.
    joined: bool,
}

/// What has changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) joined: Vec<(String, Guest)>,
    pub(super) left: Vec<(String, Guest)>,
    /// Ids of those whose time is over.
    pub(super) over: Vec<String>,
}

/// All of them, by id; as many as `webrtc` has sessions.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<HashMap<String, Guest>>);

impl Guests {
    /// An offer was answered.
    pub(super) fn offered(&self, id: &str, stream: &str, (peer, agent): (IpAddr, &str), ends: Option<SystemTime>) {
        let guest = Guest { stream: stream.into(), peer, agent: agent.into(), ends, joined: false };
        self.lock().insert(id.to_owned(), guest);
    }

    /// Asks for each whether its media flows; None: it is over.
    pub(super) fn look(&self, now: SystemTime, is_connected: impl Fn(&str) -> Option<bool>) -> Changes {
        let mut changes = Changes::default();
        self.lock().retain(|id, guest| {
            let Some(connected) = is_connected(id) else {
                if guest.joined {
                    changes.left.push((id.clone(), guest.clone()));
                }
                return false;
            };
            if guest.ends.is_some_and(|ends| now >= ends) {
                changes.over.push(id.clone());
            }
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_comes_and_goes_once() {
        let guests = Guests::default();
        let home = || (Ipv4Addr::LOCALHOST.into(), "test");
        guests.offered("a", "show", home(), None);
        guests.offered("b", "show", home(), None);
        let told = |fate: Option<bool>| {
            let changes = guests.look(SystemTime::now(), |id| if id == "a" { fate } else { None });
            (changes.joined.len(), changes.left.len())
        };
        assert_eq!(told(Some(false)), (0, 0));
        assert_eq!(told(Some(true)), (1, 0));
        assert_eq!(told(Some(true)), (0, 0));
        assert_eq!(told(None), (0, 1));
        assert_eq!(told(None), (0, 0));
    }

    #[test]
    fn whose_time_is_over_is_named_until_it_is_gone() {
        let guests = Guests::default();
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        guests.offered("a", "show", (Ipv4Addr::LOCALHOST.into(), "test"), Some(ends));
        let over = |now, fate: Option<bool>| guests.look(now, |_| fate).over;
        assert!(over(ends - Duration::from_secs(1), Some(true)).is_empty());
        assert_eq!(over(ends, Some(true)), ["a"]);
        assert_eq!(over(ends, Some(true)), ["a"]);
        assert!(over(ends, None).is_empty());
    }
}
