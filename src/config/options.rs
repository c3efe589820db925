//! The table of all options, derived from the default configuration: its names in the file, in the environment and as a
//! flag, and its default. `load`, `args` and `show` walk it; no list of options stands anywhere else.

use std::collections::HashMap;
use std::sync::LazyLock;

use toml::{Table, Value};

use super::sections::Config;

/// One option under all its names.
#[derive(Debug)]
pub(super) struct Spec {
    /// The section: `rtmp`.
    pub(super) section: String,
    /// The key within it: `max_message`.
    pub(super) key: String,
    /// Both: `rtmp.max_message`.
    pub(super) name: String,
    /// `HEADWATER_RTMP_MAX_MESSAGE`.
    pub(super) variable: String,
    /// `rtmp-max-message`, without the dashes in front.
    pub(super) flag: String,
    /// The built-in default.
    pub(super) default: Value,
    /// The comment that `config/headwater.toml` has on it.
    pub(super) about: &'static str,
}

impl Spec {
    /// The default as a person types it: texts without quotes, everything else as TOML.
    pub(super) fn example(&self) -> String {
        self.default.as_str().map_or_else(|| self.default.to_string(), str::to_owned)
    }
}

/// All options, in the order of the file.
pub(super) fn all() -> &'static [Spec] {
    &SPECS
}

/// The option of this name (`rtmp.listen`).
pub(super) fn by_name(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}

/// Whether a section has this name.
pub(super) fn is_section(name: &str) -> bool {
    SPECS.iter().any(|spec| spec.section == name)
}

/// Of several names, the one that takes the fewest keystrokes to get to.
pub(super) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    names.min_by_key(|name| distance(text, name)).unwrap_or_default()
}

/// All prefixes of variables that belong to this program.
pub(super) const PREFIX: &str = "HEADWATER_";

/// The file that documents every option.
pub(super) const DOCUMENTED: &str = include_str!("../../config/headwater.toml");

static SPECS: LazyLock<Vec<Spec>> = LazyLock::new(|| {
    let about = comments(DOCUMENTED);
    // Serializing plain structs cannot fail; a test reads the table.
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut specs: Vec<Spec> = defaults.iter().flat_map(|(section, table)| section_specs(section, table)).collect();
    for spec in &mut specs {
        spec.about = about.iter().find(|(name, _)| *name == spec.name).map_or("", |(_, comment)| *comment);
    }
    let place: HashMap<&str, usize> = about.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
    specs.sort_by_key(|spec| place.get(spec.name.as_str()).copied().unwrap_or(usize::MAX));
    specs
});

fn section_specs(section: &str, table: &Value) -> Vec<Spec> {
    let options = table.as_table().into_iter().flatten();
    options
        .map(|(key, default)| Spec {
            section: section.to_owned(),
            key: key.clone(),
            name: format!("{section}.{key}"),
            variable: format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase()),
            flag: format!("{section}-{}", key.replace('_', "-")),
            default: default.clone(),
            about: "",
        })
        .collect()
}

/// The comment line above each option of the documented file, with the option's name. An example of an array of tables
/// (`# [[access.keys]]`) counts as the option itself.
pub(super) fn comments(text: &'static str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let (mut section, mut comment) = ("", "");
    for line in text.lines() {
        if let Some(example) = line.strip_prefix("# [[").and_then(|rest| rest.strip_suffix("]]")) {
            found.push((example.to_owned(), comment));
        } else if let Some(said) = line.strip_prefix("# ") {
            comment = said;
            continue;
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.push((format!("{section}.{key}"), comment));
        }
        comment = "";
    }
    found
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_option_has_three_names() {
        let spec = by_name("rtmp.max_message").unwrap();
        assert_eq!(spec.variable, "HEADWATER_RTMP_MAX_MESSAGE");
        assert_eq!(spec.flag, "rtmp-max-message");
        assert_eq!(spec.example(), "8MiB");
    }

    #[test]
    fn options_stand_in_the_order_of_the_file() {
        let names: Vec<&str> = all().iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names.first(), Some(&"http.listen"));
        assert_eq!(names.last(), Some(&"server.drain"));
        assert!(names.len() > 30);
    }

    #[test]
    fn distances_count_keystrokes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("listen", "listen"), 0);
    }

    #[test]
    fn the_nearest_name_is_found() {
        let names = || all().iter().map(|spec| spec.name.as_str());
        assert_eq!(nearest("rtmp.lisen", names()), "rtmp.listen");
        assert_eq!(nearest("hls.part_duration", names()), "hls.part_target");
    }
}
