//! The state of this process as Linux tells it, under the names that Prometheus' client libraries agree on. Read anew each
//! time; what cannot be read is left out.

use std::fs;

use super::series::Series;
use super::table as names;

/// Appends memory, CPU time, open files, threads and start time.
pub(super) fn render(series: &mut Series) {
    let status = fs::read_to_string("/proc/self/status").ok();
    let of = |read: fn(&str) -> Option<u64>| status.as_deref().and_then(read).map(|value| value as f64);
    series.one(names::PROCESS_RESIDENT, of(resident_bytes));
    series.one(names::PROCESS_VIRTUAL, of(|status| field(status, "VmSize:").map(|kib| kib << 10)));
    series.one(names::PROCESS_THREADS, of(|status| field(status, "Threads:")));
    let times = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| times(&stat));
    series.one(names::PROCESS_CPU, times.map(|times| times.cpu_seconds));
    series.one(names::PROCESS_OPEN_FILES, open_files().map(|files| files as f64));
    let limits = fs::read_to_string("/proc/self/limits").ok();
    series.one(names::PROCESS_MAX_FILES, limits.and_then(|limits| max_files(&limits)).map(|files| files as f64));
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| field(&stat, "btime "));
    series.one(names::PROCESS_START, boot.zip(times).map(|(boot, times)| boot as f64 + times.start_seconds));
}

/// The limit that holds. None where there is none.
fn max_files(limits: &str) -> Option<u64> {
    field(limits, "Max open files")
}

fn resident_bytes(status: &str) -> Option<u64> {
    field(status, "VmRSS:").map(|kib| kib << 10)
}

/// The number after a word at the start of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    cpu_seconds: f64,
    /// After the machine's boot.
    start_seconds: f64,
}

/// From the one line of `/proc/self/stat`: fields 14, 15 and 22 of proc(5). The second is the program's name in
/// parentheses, which may hold anything, so counting starts behind it.
fn times(stat: &str) -> Option<Times> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
    Some(Times { cpu_seconds: seconds(ticks(14)? + ticks(15)?), start_seconds: seconds(ticks(22)?) })
}

/// Newer kernels tell the number as the directory's size; with others every entry is counted, which with tens of
/// thousands of connections takes milliseconds. The directory itself is open meanwhile and not counted.
fn open_files() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

/// Linux reports times to programs in these on every architecture, whatever its own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 3 0 1234 9 9";
        assert_eq!(times(stat), Some(Times { cpu_seconds: 2.0, start_seconds: 12.34 }));
        assert_eq!(times("7 (short) S 1"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tkthread\n"), None);
    }

    #[test]
    fn the_limit_that_holds_is_told() {
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096  files\n";
        assert_eq!(max_files(limits), Some(1024));
        assert_eq!(max_files("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[test]
    fn this_process_is_described() {
        let mut series = Series::default();
        render(&mut series);
        let text = series.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
            line.parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 3600.0..=now + 2.0).contains(&value("process_start_time_seconds")));
    }
}
