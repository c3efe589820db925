//! How results are printed: a few aligned lines for people, one JSON object for scripts. Each mode has its own summary;
//! this file owns the shapes they share.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use crate::tally::Spread;

/// Names the columns of [`spread`].
pub(crate) fn heading(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}", "ms", "p50", "p95", "p99", "max", "count")
}

/// One distribution, one line.
pub(crate) fn spread(out: &mut dyn Write, name: &str, s: &Spread) -> Result<()> {
    writeln!(out, "{name:<34}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>10}", s.p50, s.p95, s.p99, s.max, s.count)
}

/// What failed, by kind.
pub(crate) fn failures(out: &mut dyn Write, total: u64, kinds: &BTreeMap<String, u64>) -> Result<()> {
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    match total {
        0 => writeln!(out, "failed     none"),
        _ => writeln!(out, "failed     {total} ({})", kinds.join(", ")),
    }
}
