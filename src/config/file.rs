//! The configuration file: finding it, reading it, and turning it into settings with the line and column of each. `load`
//! calls it. What a setting may be is not judged here, save that its name exists.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, Origin};
use super::load::Setting;
use super::options;

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub struct File {
    path: Arc<PathBuf>,
    text: String,
}

impl File {
    /// Takes a text that is already in memory.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> File {
        File { path: Arc::new(path.into()), text: text.into() }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<File, Error> {
        read_text(path).map(|text| File::new(path, text)).map_err(|problem| Error {
            origin: Origin::File(Arc::new(path.to_owned()), None),
            option: None,
            problem,
        })
    }

    /// Reads a file that need not be there.
    pub(super) fn read_if_any(path: &Path) -> Result<Option<File>, Error> {
        if path.try_exists().unwrap_or(true) { File::read(path).map(Some) } else { Ok(None) }
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The first of the usual places that has a file.
    pub fn usual() -> Option<&'static Path> {
        USUAL.iter().map(Path::new).find(|path| path.is_file())
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its settings in order; what is wrong goes to `errors`.
    pub(super) fn settings(&self, errors: &mut Vec<Error>) -> Vec<Setting<'_>> {
        let (document, wrong) = DeTable::parse_recoverable(&self.text);
        if !wrong.is_empty() {
            // What was recovered from a broken file would be judged twice.
            errors.extend(wrong.iter().map(|error| self.error(error.span(), None, error.message().to_owned())));
            return Vec::new();
        }
        let mut found = Vec::new();
        for (section, value) in document.into_inner() {
            self.section(section, value, &mut found, errors);
        }
        found.sort_by_key(|(start, _)| *start);
        found.into_iter().map(|(_, setting)| setting).collect()
    }

    fn section<'i>(
        &'i self,
        section: Spanned<std::borrow::Cow<'i, str>>,
        value: Spanned<DeValue<'i>>,
        found: &mut Vec<(usize, Setting<'i>)>,
        errors: &mut Vec<Error>,
    ) {
        let name = section.get_ref().as_ref();
        if !options::is_section(name) {
            errors.push(self.error(Some(section.span()), None, unknown_section(name, value.get_ref())));
            return;
        }
        let DeValue::Table(table) = value.into_inner() else {
            let problem = format!("{name} is a section; write [{name}] and its options below");
            errors.push(self.error(Some(section.span()), None, problem));
            return;
        };
        for (key, value) in table {
            let full = format!("{name}.{}", key.get_ref());
            let Some(spec) = options::by_name(&full) else {
                errors.push(self.error(Some(key.span()), None, unknown_option(&full)));
                continue;
            };
            // An array of tables may have no span of its own.
            let span = if value.span().is_empty() { key.span() } else { value.span() };
            let origin = self.origin(Some(span));
            found.push((key.span().start, Setting { spec, value, origin, file: Some(self) }));
        }
    }

    /// The place of a span.
    pub(super) fn origin(&self, span: Option<Range<usize>>) -> Origin {
        Origin::File(self.path.clone(), span.map(|span| position(&self.text, span.start)))
    }

    fn error(&self, span: Option<Range<usize>>, option: Option<String>, problem: String) -> Error {
        Error { origin: self.origin(span), option, problem }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read it ({error}); check the path and its permissions");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LARGEST {
        return Err("it has more than 1 MiB and is hardly a configuration; check the path".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text; check the path".to_owned())
}

fn unknown_section(name: &str, value: &DeValue<'_>) -> String {
    let sections = options::all().iter().map(|spec| spec.section.as_str());
    if matches!(value, DeValue::Table(_) | DeValue::Array(_)) {
        return format!("there is no section [{name}]; the nearest is [{}]", options::nearest(name, sections));
    }
    let keys = options::all().iter().map(|spec| spec.key.as_str());
    let near = options::nearest(name, keys);
    let spec = options::all().iter().find(|spec| spec.key == near);
    let section = spec.map_or("", |spec| spec.section.as_str());
    format!("{name} stands outside of any section; the nearest option is {near}, below [{section}]")
}

fn unknown_option(full: &str) -> String {
    let names = options::all().iter().map(|spec| spec.name.as_str());
    format!("there is no option {full}; the nearest is {}", options::nearest(full, names))
}

/// Line and column of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Where a file is looked for when none is named.
const USUAL: [&str; 2] = ["config/headwater.toml", "/etc/headwater/headwater.toml"];

/// Bytes of a file that are read: every option with a long list of keys fits many times.
const LARGEST: u64 = 1 << 20;
