//! What the server under test takes, as /proc says: so that its figures and the load's are of the same moments. Linux.

use serde::Serialize;

/// A server's process, at a moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// User and system time of all threads so far, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory.
    pub(crate) rss_kib: u64,
    /// Open files.
    pub(crate) files: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// Looks at a process; None if there is none.
pub(crate) fn look(pid: u32) -> Option<Sample> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    Some(Sample {
        cpu_seconds: ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64,
        rss_kib: value("VmRSS:")?,
        files: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        threads: value("Threads:")?,
    })
}

/// Fields 14 and 15 of proc(5)'s stat; the name in parentheses may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let sample = look(std::process::id()).unwrap();
        assert!(sample.rss_kib > 0 && sample.threads > 0 && sample.files > 2);
        assert_eq!(ticks("1 (a) b) S 1 2 3 4 5 6 7 8 9 10 20 30 0"), Some(50));
        assert!(look(u32::MAX).is_none());
    }
}
