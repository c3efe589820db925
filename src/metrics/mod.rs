//! The names of all counters, what they mean, and how they are rendered for Prometheus. Whoever counts uses the macros of
//! the `metrics` crate with a name from here; the admin listener serves what [`render`] gives. Nothing here counts.

#[cfg(test)]
mod document;
mod process;
mod reading;
mod series;
mod table;

use std::sync::OnceLock;

pub use reading::Reading;
pub use series::Series;
pub use table::*;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Starts counting in this process. Calling it again changes nothing; what was counted before the first time is lost.
pub fn install() -> Result<(), Error> {
    let installed = HANDLE.get_or_init(|| recorder().map_err(|error| error.to_string()));
    installed.as_ref().map(drop).map_err(|problem| Error(problem.clone()))
}

/// Everything that was counted, and the state of the process, in the text format of Prometheus. Before [`install`] only
/// the latter. It reads `/proc` and takes milliseconds at most.
pub fn render() -> String {
    let mut text =
        HANDLE.get().and_then(|handle| handle.as_ref().ok()).map(PrometheusHandle::render).unwrap_or_default();
    let mut series = Series::default();
    process::render(&mut series);
    text.push_str(&series.text());
    text
}

/// What [`render`] says, to be reckoned with.
pub fn read() -> Reading {
    Reading::of(&render())
}

/// Empties the buffers of histograms, which grow while nobody asks for metrics: call it every few seconds.
pub fn upkeep() {
    if let Some(Ok(handle)) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// Nothing can be counted: something else in this process counts already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot count: {0}")]
pub struct Error(String);

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
    }
    let handle = builder.install_recorder()?;
    RECORDED.iter().for_each(Name::describe);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

impl Name {
    /// Tells the recorder what it is. One without labels shows from now on, as zero: a rate over a counter that appears
    /// with its first event misses that event.
    fn describe(&self) {
        let whole = self.labels == "{}";
        match self.kind {
            Kind::Counter => {
                describe_counter!(self.name, self.about);
                whole.then(|| counter!(self.name).absolute(0));
            }
            Kind::Gauge => {
                describe_gauge!(self.name, self.about);
                whole.then(|| gauge!(self.name).set(0.0));
            }
            Kind::Histogram => {
                describe_histogram!(self.name, self.about);
                whole.then(|| histogram!(self.name));
            }
        }
    }
}

static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// The upper bounds of histograms' buckets.
const BUCKETS: &[(&str, &[f64])] = &[
    // Packaging takes well below a millisecond; a tenth of a second is a viewer's stall.
    (HLS_PART_DELAY, &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5]),
    // About a part for a healthy player, a segment and more for one that starts.
    (HTTP_WAIT, &[0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0]),
    // A fraction of the second that it is made for.
    (ADMIN_LOOK, &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
    // A hundredth of a second by itself, a second where a worker has to be started, five where one hangs.
    (LISTEN_SECONDS, &[0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
    // Around a tenth of a second; its time-out is some seconds.
    (STILLS_TIME, &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
    // A town, a country, an ocean, trouble.
    (WEBRTC_ROUND_TRIP, &[0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0]),
    // From one per cent on pictures suffer, from ten on nothing helps.
    (WEBRTC_LOSS, &[0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
    // Timers are a millisecond late by nature; a part lasts a third of a second.
    (RUNTIME_LAG, &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // One test, because a process has one recorder.
    #[test]
    fn what_is_counted_is_rendered_once() {
        install().unwrap();
        install().unwrap();
        // Labels of its own: other tests of this process may count under the same names meanwhile.
        counter!(RTMP_REFUSED, "reason" => "test one").increment(2);
        counter!(RTMP_REFUSED, "reason" => "test two").increment(1);
        histogram!(HLS_PART_DELAY, "test" => "buckets").record(0.0007);
        upkeep();
        let text = render();
        let has =
            |line: &str| assert!(text.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{text}");
        has("# TYPE headwater_rtmp_refused_total counter");
        has("headwater_rtmp_refused_total{reason=\"test one\"} 2");
        has("headwater_rtmp_refused_total{reason=\"test two\"} 1");
        has("headwater_hub_takeovers_total ");
        has("headwater_http_held_requests ");
        has(concat!("headwater_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
        has("headwater_hls_part_delay_seconds_bucket{test=\"buckets\",le=\"0.0005\"} 0");
        has("headwater_hls_part_delay_seconds_bucket{test=\"buckets\",le=\"0.001\"} 1");
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{name}");
        }
    }
}
