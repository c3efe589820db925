//! Puts the layers over each other: defaults, file, what the API set, environment, flags. Every setting is first tried alone, so that each
//! wrong one is reported at its own place and none hides another; then all are taken together and checked as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{Error, Errors, Origin};
use super::file::File;
use super::options::{self, Spec};
use super::sections::Config;
use super::units::EXAMPLE;
use super::validate;

/// The layers above the defaults, as text.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The configuration file, if there is one.
    pub file: Option<File>,
    /// What the API set, written as the configuration file is.
    pub overrides: Option<File>,
    /// Environment variables; those that do not start with `HEADWATER_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags without their dashes, and their values.
    pub flags: Vec<(String, String)>,
}

/// The configuration that holds, and where each value came from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
    /// Of the text that each value was read from, so that another secret is noticed that shows the same dots. The hash is
    /// this process's own, and says nothing about the text.
    prints: BTreeMap<&'static str, u64>,
}

impl Effective {
    /// Where the value of an option (`rtmp.listen`) was set.
    pub fn origin(&self, option: &str) -> &Origin {
        self.origins.get(option).unwrap_or(&Origin::Default)
    }

    pub(super) fn fixed(config: Config) -> Effective {
        Effective { config, file: None, origins: BTreeMap::new(), prints: BTreeMap::new() }
    }

    pub(super) fn print(&self, option: &str) -> Option<u64> {
        self.prints.get(option).copied()
    }
}

/// Loads and checks the configuration; what is wrong is collected, over all layers.
pub fn load(input: &Input) -> Result<Effective, Errors> {
    let mut errors = Vec::new();
    let mut settings = Vec::new();
    if let Some(file) = &input.file {
        settings.extend(file.settings(&mut errors));
    }
    if let Some(overrides) = &input.overrides {
        let set = overrides.settings(&mut errors).into_iter().map(|set| Setting { origin: Origin::Api, ..set });
        settings.extend(set);
    }
    settings.extend(environment(&input.environment, &mut errors));
    settings.extend(flags(&input.flags, &mut errors));
    settings.retain(|setting| {
        let wrong = setting.check();
        errors.extend_from_slice(&wrong);
        wrong.is_empty()
    });
    let file = input.file.as_ref().map(|file| file.path().to_owned());
    let effective = merge(settings, file, &mut errors);
    errors.extend(validate::check(&effective));
    if errors.is_empty() { Ok(effective) } else { Err(Errors::new(errors)) }
}

/// The directory that what the API set is in: the layers above and below it name it, never it itself.
pub(super) fn data_dir(input: &Input) -> PathBuf {
    let mut nobody_listens = Vec::new();
    let mut settings = input.file.as_ref().map(|file| file.settings(&mut nobody_listens)).unwrap_or_default();
    settings.extend(environment(&input.environment, &mut Vec::new()));
    settings.extend(flags(&input.flags, &mut Vec::new()));
    let dir = settings.iter().rev().find(|setting| setting.spec.name == DATA_DIR);
    match dir.map(|setting| setting.value.get_ref()) {
        Some(DeValue::String(dir)) if !dir.is_empty() => PathBuf::from(dir.as_ref()),
        _ => Config::default().data.dir,
    }
}

/// One value of one option in one layer.
#[derive(Debug)]
pub(super) struct Setting<'i> {
    pub(super) spec: &'static Spec,
    pub(super) value: Spanned<DeValue<'i>>,
    pub(super) origin: Origin,
    /// The file it stands in, where spans mean something.
    pub(super) file: Option<&'i File>,
}

impl Setting<'_> {
    /// What is wrong with the value, whatever the other options are. Every element of a list is judged.
    fn check(&self) -> Vec<Error> {
        if let Err(error) = self.kind() {
            return vec![error];
        }
        let DeValue::Array(list) = self.value.get_ref() else {
            return self.try_alone(self.value.clone()).err().into_iter().collect();
        };
        let alone = list.iter().map(|element| {
            let only: DeArray<'_> = std::iter::once(element.clone()).collect();
            self.try_alone(Spanned::new(self.value.span(), DeValue::Array(only)))
        });
        alone.filter_map(Result::err).collect()
    }

    /// Whether the defaults take a value in place of theirs.
    fn try_alone(&self, value: Spanned<DeValue<'_>>) -> Result<(), Error> {
        let mut table = DeTable::new();
        insert(&mut table, self.spec, value);
        Config::deserialize(toml::Deserializer::from(Spanned::new(0..0, table))).map(drop).map_err(|error| {
            let span = error.span().filter(|span| !span.is_empty());
            let origin = match (self.file, span) {
                (Some(file), Some(span)) => file.origin(Some(span)),
                _ => self.origin.clone(),
            };
            Error { origin, ..self.wrong(self.explain(error.message())) }
        })
    }

    /// Whether it is of the kind that the default is of: a text, a number, a switch or a list.
    fn kind(&self) -> Result<(), Error> {
        let example = &self.spec.default;
        let problem = match (example, self.value.get_ref()) {
            (toml::Value::String(_), DeValue::String(_)) => return Ok(()),
            (toml::Value::Integer(_), DeValue::Integer(_)) => return Ok(()),
            (toml::Value::Boolean(_), DeValue::Boolean(_)) => return Ok(()),
            (toml::Value::Array(_), DeValue::Array(_)) => return Ok(()),
            (toml::Value::String(_), _) => format!("this is no text in quotes; write it as {example}"),
            (toml::Value::Boolean(_), _) => "this is neither true nor false".to_owned(),
            (toml::Value::Array(_), _) => NO_LIST.to_owned(),
            (_, DeValue::String(text)) => format!("{text:?} is no whole number; write it as {example}"),
            _ => format!("this is no whole number; write it as {example}"),
        };
        Err(self.wrong(problem))
    }

    /// What serde says, in words of this project.
    fn explain(&self, message: &str) -> String {
        if self.spec.default.is_integer() {
            return format!("the number is out of range; write it as {}", self.spec.default);
        }
        // Such a message of serde's repeats the value, and an element of a list may be a secret.
        if self.spec.default.is_array() && message.starts_with("invalid type") {
            return NO_LIST.to_owned();
        }
        // The name of a field that is not known may be a secret in the wrong place.
        if message.starts_with("unknown field") {
            return "a table here has a field that is not known; see the example in config/headwater.toml".to_owned();
        }
        message.replace(EXAMPLE, &self.spec.example())
    }

    fn wrong(&self, problem: String) -> Error {
        Error { origin: self.origin.clone(), option: Some(self.spec.name.clone()), problem }
    }
}

fn environment<'i>(variables: &'i [(String, String)], errors: &mut Vec<Error>) -> Vec<Setting<'i>> {
    let mut found = Vec::new();
    for (name, text) in variables {
        if !name.starts_with(options::PREFIX) || name == FILE_VARIABLE {
            continue;
        }
        let origin = Origin::Environment(name.clone());
        match options::all().iter().find(|spec| spec.variable == *name) {
            Some(spec) => found.extend(from_text(spec, text, origin, errors)),
            None => {
                let names = options::all().iter().map(|spec| spec.variable.as_str()).chain([FILE_VARIABLE]);
                let near = options::nearest(name, names);
                let problem = format!("there is no such option; the nearest is {near}");
                errors.push(Error { origin, option: None, problem });
            }
        }
    }
    found
}

fn flags<'i>(flags: &'i [(String, String)], errors: &mut Vec<Error>) -> Vec<Setting<'i>> {
    let mut found = Vec::new();
    for (flag, text) in flags {
        if let Some(spec) = options::all().iter().find(|spec| spec.flag == *flag) {
            found.extend(from_text(spec, text, Origin::Flag(flag.clone()), errors));
        }
    }
    found
}

/// A text stands as it is; numbers and lists are read as TOML.
fn from_text<'i>(spec: &'static Spec, text: &'i str, origin: Origin, errors: &mut Vec<Error>) -> Option<Setting<'i>> {
    let text_value = || Spanned::new(0..0, DeValue::String(Cow::Borrowed(text)));
    let value = match &spec.default {
        toml::Value::String(_) => text_value(),
        // What is no number at all stays a text, which is then refused by its name.
        toml::Value::Integer(_) => DeValue::parse(text.trim()).unwrap_or_else(|_| text_value()),
        _ => match DeValue::parse(text.trim()) {
            Ok(value) => value,
            Err(_) => {
                errors.push(Error { origin, option: Some(spec.name.clone()), problem: NO_LIST.to_owned() });
                return None;
            }
        },
    };
    Some(Setting { spec, value, origin, file: None })
}

fn merge(settings: Vec<Setting<'_>>, file: Option<PathBuf>, errors: &mut Vec<Error>) -> Effective {
    let mut origins = BTreeMap::new();
    let mut table = DeTable::new();
    for setting in settings {
        origins.insert(setting.spec.name.as_str(), setting.origin);
        insert(&mut table, setting.spec, setting.value);
    }
    let prints = prints(&table);
    let config = Config::deserialize(toml::Deserializer::from(Spanned::new(0..0, table))).unwrap_or_else(|error| {
        // Unreachable while options do not depend on each other in serde; said all the same.
        errors.push(Error { origin: Origin::Default, option: None, problem: error.message().to_owned() });
        Config::default()
    });
    Effective { config, file, origins, prints }
}

/// Hashes of what was written, without where it stood.
fn prints(table: &DeTable<'_>) -> BTreeMap<&'static str, u64> {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let table = Spanned::new(0..0, table.clone());
    let table = toml::Table::deserialize(toml::Deserializer::from(table)).unwrap_or_default();
    let value = |spec: &'static Spec| Some((spec, table.get(&spec.section)?.get(&spec.key)?.to_string()));
    let written = options::all().iter().filter_map(value);
    written.map(|(spec, text)| (spec.name.as_str(), STATE.hash_one(text))).collect()
}

fn insert<'i>(table: &mut DeTable<'i>, spec: &'static Spec, value: Spanned<DeValue<'i>>) {
    let key = |name: &'static str| Spanned::new(0..0, Cow::Borrowed(name));
    let section = table.entry(key(&spec.section)).or_insert_with(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
    if let DeValue::Table(section) = section.get_mut() {
        section.insert(key(&spec.key), value);
    }
}

/// Names the configuration file instead of `--config`; the one variable that is no option.
pub(super) const FILE_VARIABLE: &str = "HEADWATER_CONFIG";

/// Where files of the server are.
pub(super) const DATA_DIR: &str = "data.dir";

/// Does not repeat what was written: it may be a list of secrets.
const NO_LIST: &str = "this list is not written as config/headwater.toml shows it; write it in TOML like there";
