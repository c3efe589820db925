//! Series that are written anew for each scrape, because the recorder would keep them for ever: of the process, and of
//! streams that come and go.

use std::fmt::Write;

use super::table::row;

/// A text in Prometheus' format that grows.
#[derive(Debug, Default)]
pub struct Series {
    text: String,
}

impl Series {
    /// Writes all series of one metric, a name of the table: each with the values of its labels in the table's order.
    /// Nothing is written of a metric without any.
    pub fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        let Some(row) = row(name) else { return };
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {}", row.about, row.kind.name());
        for (values, value) in series {
            self.text.push_str(name);
            for (at, (label, said)) in labels.iter().zip(values).enumerate() {
                let opening = if at == 0 { '{' } else { ',' };
                let _ = write!(self.text, "{opening}{label}=\"{}\"", escaped(said));
            }
            let _ = writeln!(self.text, "{} {value}", if N == 0 { "" } else { "}" });
        }
        self.text.push('\n');
    }

    /// Writes a metric without labels, if it is known.
    pub fn one(&mut self, name: &str, value: Option<f64>) {
        self.family(name, [], value.map(|value| ([], value)));
    }

    /// All of it.
    pub fn text(self) -> String {
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{RUNG_LAG, STREAM_LIVE};

    #[test]
    fn a_family_has_its_meaning_once() {
        let mut series = Series::default();
        series.family(STREAM_LIVE, ["stream"], []);
        series.family(RUNG_LAG, ["stream", "rung"], [(["a", "720p"], 0.5), (["b", "\"\\"], 2.0)]);
        let text = series.text();
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("# HELP headwater_stream_rung_lag_seconds ")));
        assert_eq!(lines.next(), Some("# TYPE headwater_stream_rung_lag_seconds gauge"));
        assert_eq!(lines.next(), Some("headwater_stream_rung_lag_seconds{stream=\"a\",rung=\"720p\"} 0.5"));
        assert_eq!(lines.next(), Some("headwater_stream_rung_lag_seconds{stream=\"b\",rung=\"\\\"\\\\\"} 2"));
    }
}
