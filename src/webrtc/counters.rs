//! The counters of WebRTC, looked up once.

use metrics::{Counter, Gauge, counter, gauge};

use crate::metrics as names;

/// They.
pub(super) struct Counters {
    pub(super) sessions: Gauge,
    packets_sent: Counter,
    bytes_sent: Counter,
    unsent: Counter,
    /// Datagrams and commands that a worker had no room for.
    pub(super) dropped: Counter,
}

impl Counters {
    pub(super) fn new() -> Counters {
        Counters {
            sessions: gauge!(names::WEBRTC_SESSIONS),
            packets_sent: counter!(names::WEBRTC_PACKETS_SENT),
            bytes_sent: counter!(names::WEBRTC_BYTES_SENT),
            unsent: counter!(names::WEBRTC_PACKETS_UNSENT),
            dropped: counter!(names::WEBRTC_DATAGRAMS_DROPPED),
        }
    }

    /// An offer was answered.
    pub(super) fn offers(&self, protocol: &'static str) {
        counter!(names::WEBRTC_OFFERS, "protocol" => protocol).increment(1);
    }

    /// A session is over.
    pub(super) fn ended(&self, protocol: &'static str, connected: bool) {
        let outcome = if connected { "connected" } else { "never_connected" };
        counter!(names::WEBRTC_SESSIONS_ENDED, "protocol" => protocol, "outcome" => outcome).increment(1);
    }

    /// Datagrams went out, or the kernel had no room for them.
    pub(super) fn sent(&self, bytes: usize, packets: usize, taken: bool) {
        if taken {
            self.packets_sent.increment(packets as u64);
            self.bytes_sent.increment(bytes as u64);
        } else {
            self.unsent.increment(packets as u64);
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
