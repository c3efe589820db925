//! What a run of the `whep` mode showed, for people and for scripts.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::server::Sample;
use super::tally::Tally;
use super::{Mark, Whep};
use crate::report;
use crate::tally::Spread;

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    mode: &'static str,
    url: String,
    viewers: u32,
    joined: u64,
    left: u64,
    seconds: f64,
    connect_ms: Spread,
    join_ms: Spread,
    frame_gap_ms: Spread,
    delay_ms: Spread,
    packets: u64,
    bytes: u64,
    lost: u64,
    frames: u64,
    gaps: u64,
    unproven: u64,
    failed: u64,
    failures: BTreeMap<String, u64>,
    server: Option<Cost>,
}

/// The server at four moments: before anybody came, with everybody there at the beginning and end of a steady stretch, and
/// after everybody left.
pub(super) struct Server {
    pub(super) before: Sample,
    pub(super) steady: Option<Mark>,
    pub(super) halfway: Option<Mark>,
    pub(super) after: Sample,
}

/// What the server took.
#[derive(Debug, Serialize)]
struct Cost {
    before: Sample,
    after: Sample,
    steady: Option<Steady>,
}

/// While everybody was there.
#[derive(Debug, Serialize)]
struct Steady {
    seconds: f64,
    viewers: u64,
    /// Of a core.
    cpu_percent: f64,
    cpu_seconds_per_viewer_hour: f64,
    packets_per_cpu_second: f64,
    megabits_per_second: f64,
    rss_kib: u64,
    rss_kib_per_viewer: f64,
}

impl Summary {
    pub(super) fn new(options: &Whep, sum: &Tally, took: Duration, server: Option<Server>) -> Summary {
        Summary {
            mode: "whep",
            url: options.url.clone(),
            viewers: options.churn.unwrap_or(options.viewers),
            joined: sum.joined,
            left: sum.left,
            seconds: took.as_secs_f64(),
            connect_ms: sum.connect.spread(),
            join_ms: sum.join.spread(),
            frame_gap_ms: sum.frame.spread(),
            delay_ms: sum.delay.spread(),
            packets: sum.packets,
            bytes: sum.bytes,
            lost: sum.lost,
            frames: sum.frames,
            gaps: sum.gaps,
            unproven: sum.unproven,
            failed: sum.failures.values().sum(),
            failures: sum.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect(),
            server: server.map(|server| server.cost()),
        }
    }

    /// Whether anything could be played.
    pub(crate) fn worked(&self) -> bool {
        self.joined > 0
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Summary { joined, viewers, left, seconds, .. } = self;
        writeln!(out, "{joined} of {viewers} viewers joined, {left} left as they wanted to, in {seconds:.1} s")?;
        report::heading(out)?;
        report::spread(out, "offer to keys", &self.connect_ms)?;
        report::spread(out, "offer to first packet of pictures", &self.join_ms)?;
        report::spread(out, "frame, after the one before", &self.frame_gap_ms)?;
        if self.delay_ms.count > 0 {
            let Spread { p50, p95, p99, max, count, .. } = self.delay_ms;
            writeln!(out, "{:<34}{p50:>9.2}{p95:>9.2}{p99:>9.2}{max:>9.2}{count:>10}", "published to received")?;
        }
        let Summary { packets, bytes, lost, frames, gaps, unproven, .. } = self;
        let megabits = *bytes as f64 * 8.0 / seconds / 1e6;
        writeln!(out, "packets    {packets} ({megabits:.0} Mbit/s), {lost} lost, {unproven} that did not open")?;
        writeln!(out, "frames     {frames}, {gaps} gaps over 300 ms")?;
        if let Some(Cost { before, after, steady }) = &self.server {
            if let Some(s) = steady {
                let Steady { cpu_percent, packets_per_cpu_second, rss_kib_per_viewer, viewers, .. } = s;
                writeln!(
                    out,
                    "server     {cpu_percent:.1} % of a core with {viewers} viewers: {packets_per_cpu_second:.0} packets per CPU second, {rss_kib_per_viewer:.0} KiB per viewer"
                )?;
            }
            for (name, Sample { rss_kib, files, threads, .. }) in [("before", before), ("after", after)] {
                writeln!(out, "  {name:<8} {rss_kib} KiB, {files} files, {threads} threads")?;
            }
        }
        report::failures(out, self.failed, &self.failures)
    }
}

impl Server {
    fn cost(&self) -> Cost {
        let steady = self.steady.zip(self.halfway).map(|(from, to)| {
            let seconds = to.at.saturating_duration_since(from.at).as_secs_f64().max(0.001);
            let cpu = (to.server.cpu_seconds - from.server.cpu_seconds).max(0.001);
            let viewers = to.viewers.max(1) as f64;
            Steady {
                seconds,
                viewers: to.viewers,
                cpu_percent: cpu / seconds * 100.0,
                cpu_seconds_per_viewer_hour: cpu / seconds / viewers * 3600.0,
                packets_per_cpu_second: (to.packets - from.packets) as f64 / cpu,
                megabits_per_second: (to.bytes - from.bytes) as f64 * 8.0 / seconds / 1e6,
                rss_kib: to.server.rss_kib,
                rss_kib_per_viewer: to.server.rss_kib.saturating_sub(self.before.rss_kib) as f64 / viewers,
            }
        });
        Cost { before: self.before, after: self.after, steady }
    }
}
