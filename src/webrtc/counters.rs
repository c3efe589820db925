//! The counters of WebRTC, looked up once.

use metrics::{Counter, Gauge, counter, gauge};

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
            sessions: gauge!("headwater_webrtc_sessions"),
            packets_sent: counter!("headwater_webrtc_packets_sent_total"),
            bytes_sent: counter!("headwater_webrtc_bytes_sent_total"),
            unsent: counter!("headwater_webrtc_packets_unsent_total"),
            dropped: counter!("headwater_webrtc_datagrams_dropped_total"),
        }
    }

    /// An offer was answered.
    pub(super) fn offers(&self, protocol: &'static str) {
        counter!("headwater_webrtc_offers_total", "protocol" => protocol).increment(1);
    }

    /// A session is over.
    pub(super) fn ended(&self, protocol: &'static str, connected: bool, _why: &str) {
        let outcome = if connected { "played" } else { "never_connected" };
        counter!("headwater_webrtc_sessions_ended_total", "protocol" => protocol, "outcome" => outcome).increment(1);
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
