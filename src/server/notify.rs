//! What the service manager is told (sd_notify): that the server is ready, that it lives, how it does, and that it is going.
//! Called by `run`. Where no service manager listens, nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use super::Server;

/// The server listens. From then on it is told that it lives, as often as is asked for, and how it does. Ends with the future:
/// a runtime that is stuck tells nothing, and the service manager starts the server anew.
pub(super) async fn lives(server: &Server) -> std::convert::Infallible {
    // Systemd asks for twice the rate of its time-out.
    let often = sd_notify::watchdog_enabled().map_or(STATUS, |most| (most / 2).min(STATUS)).max(LEAST);
    let mut tick = tokio::time::interval(often);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tell(&[NotifyState::Ready]);
    loop {
        tick.tick().await;
        let status = status(server.hub.streams().len() as u64, server.viewers.total());
        tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
}

/// The server takes no new work, and ends within the deadline: so long it is not to be killed.
pub(super) fn drains(deadline: Duration) {
    let patience = u32::try_from((deadline + FAREWELL).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("draining: viewers may finish"),
        NotifyState::ExtendTimeoutUsec(patience),
    ]);
}

fn status(streams: u64, viewers: crate::http::Counts) -> String {
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("{}, {}", count(streams, "stream"), count(viewers.hls + viewers.whep, "viewer"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// How often it is told at least.
const STATUS: Duration = Duration::from_secs(10);
/// And at most.
const LEAST: Duration = Duration::from_millis(50);
/// What ends after the drain takes no longer.
const FAREWELL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Counts;

    #[test]
    fn the_status_counts_in_english() {
        let viewers = |hls, whep| Counts { hls, whep, ..Counts::default() };
        assert_eq!(status(0, viewers(0, 0)), "0 streams, 0 viewers");
        assert_eq!(status(1, viewers(1, 0)), "1 stream, 1 viewer");
        assert_eq!(status(2, viewers(3, 4)), "2 streams, 7 viewers");
    }
}
