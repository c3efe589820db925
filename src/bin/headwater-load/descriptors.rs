//! Checks before a run that the process may open as many files as it is going to need, so that a limit of the shell
//! is not mistaken for a fault of the server.

/// Fails, with the remedy, when the limit on open files is below `connections` and some to spare.
pub(crate) fn require(connections: u64) -> Result<(), String> {
    let needed = connections + SPARE;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match soft_limit(&limits) {
        Some(limit) if limit < needed => Err(format!(
            "{connections} connections need {needed} open files, but the limit is {limit}; run \"ulimit -n {needed}\" first"
        )),
        _ => Ok(()),
    }
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Files other than connections: runtimes, signals, standard streams.
const SPARE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_found() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files  unlimited unlimited files\n"), None);
    }

    #[test]
    fn a_limit_too_low_is_said() {
        assert!(require(1 << 60).is_err_and(|text| text.contains("ulimit -n")));
        assert!(require(1).is_ok());
    }
}
