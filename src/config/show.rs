//! The effective configuration as `headwater check` prints it: a TOML document of every option, with the place of each
//! value that is not a default. Secrets are hidden by the types that hold them.

use std::fmt::Write;

use toml::Value;

use super::error::Origin;
use super::load::Effective;
use super::options;

impl Effective {
    /// Every option with its value, below its section; behind what is not its default stands where it was set.
    pub fn show(&self) -> String {
        let values = Value::try_from(&self.config).unwrap_or_else(|error| Value::String(error.to_string()));
        let (mut out, mut section) = (String::new(), "");
        for spec in options::all() {
            if spec.section != section {
                section = &spec.section;
                let _ = writeln!(out, "\n[{section}]");
            }
            let value = values.get(&spec.section).and_then(|table| table.get(&spec.key)).unwrap_or(&spec.default);
            let _ = match self.origin(&spec.name) {
                origin if *origin != Origin::Default && *value != spec.default => {
                    writeln!(out, "{} = {value}  # {origin}", spec.key)
                }
                _ => writeln!(out, "{} = {value}", spec.key),
            };
        }
        out
    }
}
