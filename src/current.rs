//! A value that may be replaced while it is in use: settings that an operator changes in a running server. A leaf. Whoever
//! begins something (a session, a stream, a round) takes what is current then, and keeps it; nobody asks for each frame.

use std::sync::Arc;

use tokio::sync::watch;

/// The value. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Current<T> {
    value: watch::Sender<Arc<T>>,
}

impl<T> Current<T> {
    /// With its first value.
    pub fn new(value: T) -> Current<T> {
        Current { value: watch::Sender::new(Arc::new(value)) }
    }

    /// What holds now; it stays as it is in the caller's hands.
    pub fn get(&self) -> Arc<T> {
        self.value.borrow().clone()
    }

    /// Another value, for whoever asks from now on.
    pub fn set(&self, value: T) {
        self.value.send_replace(Arc::new(value));
    }

    /// Tells of later values. The present one counts as seen.
    pub fn follow(&self) -> watch::Receiver<Arc<T>> {
        self.value.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_has_a_value_keeps_it_and_who_asks_gets_the_new_one() {
        let current = Current::new(1);
        let clone = current.clone();
        let (before, follower) = (clone.get(), current.follow());
        current.set(2);
        assert_eq!((*before, *clone.get()), (1, 2));
        assert!(follower.has_changed().unwrap());
    }
}
