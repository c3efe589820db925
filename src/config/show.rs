//! The effective configuration as `headwater check` prints it: a TOML document of every option, with the place of each
//! value that is not a default. Secrets are dots.

use std::fmt::Write;

use super::diff::{Values, diff, masked};
use super::error::Origin;
use super::load::{Effective, Input, load};
use super::options;

impl Effective {
    /// Only what differs from the defaults: both values, and from when others would hold in a running server.
    pub fn show_changes(&self) -> String {
        let Ok(defaults) = load(&Input::default()) else { return String::new() };
        diff(&defaults, self).iter().map(|change| format!("{change}\n")).collect()
    }

    /// Every option with its value, below its section; behind what is not its default stands where it was set.
    pub fn show(&self) -> String {
        let values = Values::of(self);
        let (mut out, mut section) = (String::new(), "");
        for spec in options::all() {
            if spec.section != section {
                section = &spec.section;
                let _ = writeln!(out, "\n[{section}]");
            }
            let value = masked(spec, values.get(spec));
            let _ = match self.origin(&spec.name) {
                origin if *origin != Origin::Default && value != spec.default => {
                    writeln!(out, "{} = {value}  # {origin}", spec.key)
                }
                _ => writeln!(out, "{} = {value}", spec.key),
            };
        }
        out
    }
}
