//! What the API set: a file in the data directory, written as the configuration file is, in a layer between that and the
//! environment. `control` changes it; `args` reads it with the others. An operator may edit or remove it.

use std::io;
use std::path::PathBuf;

use toml::{Table, Value};

use super::control::{Changes, Wrong};
use super::diff::{DOTS, has_secret};
use super::error::Origin;
use super::file::File;
use super::load::{self, DATA_DIR, Effective, Input};
use super::options::{self, Spec};
use crate::files;

/// Where it is.
pub(super) fn path(input: &Input) -> PathBuf {
    load::data_dir(input).join("overrides.toml")
}

/// The file with some values changed or removed, and what cannot be.
pub(super) fn changed(input: &Input, effective: &Effective, changes: &Changes) -> (File, Vec<Wrong>) {
    let text = input.overrides.as_ref().map_or("", File::text);
    // It was read before, so it is TOML.
    let mut table: Table = text.parse().unwrap_or_default();
    let mut wrong = Vec::new();
    for (option, value) in changes {
        let set = named(option).and_then(|spec| {
            match value {
                Some(text) => insert(&mut table, spec, checked(spec, effective.origin(option), text)?),
                None => remove(&mut table, spec),
            }
            Ok(())
        });
        wrong.extend(set.err().map(|problem| Wrong { option: option.clone(), problem }));
    }
    (File::new(path(input), format!("{HEAD}\n{table}")), wrong)
}

/// Puts the file in its place, whole or not at all. It may hold passwords.
pub(super) fn write(file: &File) -> io::Result<()> {
    files::replace(file.path(), file.text().as_bytes())
}

fn named(option: &str) -> Result<&'static Spec, String> {
    let names = || options::all().iter().map(|spec| spec.name.as_str());
    let unknown = || format!("there is no such option; the nearest is {}", options::nearest(option, names()));
    options::by_name(option).ok_or_else(unknown)
}

/// The value of a text, where the API may set it.
fn checked(spec: &Spec, origin: &Origin, text: &str) -> Result<Value, String> {
    if let Some((_, why)) = NOT_BY_API.iter().find(|(name, _)| *name == spec.name) {
        return Err((*why).to_owned());
    }
    if let Origin::Environment(_) | Origin::Flag(_) = origin {
        return Err(format!("{origin} sets it and wins over the API; change it there"));
    }
    let as_text = || Value::String(text.to_owned());
    let value = if spec.default.is_str() { as_text() } else { text.trim().parse().unwrap_or_else(|_| as_text()) };
    if has_secret(&value) {
        return Err(format!("{DOTS} stands for a secret that is not shown; write the secret anew"));
    }
    Ok(value)
}

fn insert(table: &mut Table, spec: &Spec, value: Value) {
    let section = table.entry(spec.section.as_str()).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(spec.key.clone(), value);
    }
}

fn remove(table: &mut Table, spec: &Spec) {
    let Some(Value::Table(section)) = table.get_mut(&spec.section) else { return };
    section.remove(&spec.key);
    if section.is_empty() {
        table.remove(&spec.section);
    }
}

const HEAD: &str =
    "# Set by the API: over the configuration file, below the environment and flags. Remove a line to undo it.";

/// Options that the API leaves alone, and why.
const NOT_BY_API: &[(&str, &str)] = &[
    (DATA_DIR, "what the API sets is kept in that directory; set it in the file, the environment or a flag"),
    ("admin.token", "it is a secret, and what the API sets is kept as text; set it in the file or the environment"),
    ("access.keys", "keys that the API makes are kept apart; make and revoke them there, and change these in the file"),
];
