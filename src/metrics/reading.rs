//! What was counted, read back from its text: for the operator's page, which shows sums and differences. Prometheus has
//! better ones; this is for who has no Prometheus.

use std::collections::BTreeMap;

use super::{HTTP_BYTES_SENT, WEBRTC_BYTES_SENT};

/// Everything that was counted at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Name and labels as they are rendered, and the value.
    series: BTreeMap<String, f64>,
    /// CPU time of the process so far.
    pub cpu_seconds: f64,
    /// Memory of the process that is in RAM.
    pub resident_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
}

impl Reading {
    /// Of a text in Prometheus' format.
    pub(super) fn of(text: &str) -> Reading {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
        let series = lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| value.parse().ok().map(|value: f64| (name.to_owned(), value)));
        let mut reading = Reading { series: series.collect(), ..Reading::default() };
        reading.cpu_seconds = reading.sum("process_cpu_seconds_total");
        reading.resident_bytes = reading.sum("process_resident_memory_bytes") as u64;
        reading.open_files = reading.sum("process_open_fds") as u64;
        reading
    }

    /// The sum over all labels of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let of = |series: &str| series.split('{').next() == Some(name);
        self.series
            .range(name.to_owned()..)
            .take_while(|(s, _)| s.starts_with(name))
            .filter(|(s, _)| of(s))
            .map(|(_, v)| v)
            .sum()
    }

    /// All series whose names end so, as they are rendered without the prefix of this program.
    pub fn series(&self, end: &str) -> BTreeMap<String, f64> {
        let ends = |series: &str| series.split('{').next().is_some_and(|name| name.ends_with(end));
        let short = |series: &str| series.trim_start_matches("headwater_").to_owned();
        self.series.iter().filter(|(series, _)| ends(series)).map(|(series, value)| (short(series), *value)).collect()
    }

    /// Bytes that went out, over every protocol.
    pub fn bytes_sent(&self) -> u64 {
        (self.sum(HTTP_BYTES_SENT) + self.sum(WEBRTC_BYTES_SENT)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_is_read() {
        let reading = Reading::of(
            "# HELP headwater_http_bytes_sent_total x\nheadwater_http_bytes_sent_total 7\n\n\
             headwater_webrtc_bytes_sent_total 5\nheadwater_x_dropped_total{reason=\"a b\"} 2\n\
             headwater_x_dropped_total{reason=\"c\"} 3\nheadwater_x_dropped_totality 9\nprocess_cpu_seconds_total 1.5\n",
        );
        assert_eq!((reading.bytes_sent(), reading.cpu_seconds), (12, 1.5));
        assert_eq!(reading.sum("headwater_x_dropped_total"), 5.0);
        assert_eq!(
            reading.series("_dropped_total").keys().next().map(String::as_str),
            Some("x_dropped_total{reason=\"a b\"}")
        );
    }
}
