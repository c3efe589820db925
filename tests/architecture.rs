//! Keeps the rules of the house that a compiler does not: who may import whom, how long files may be, which names and
//! constructs are not used. Reads the text of `src/**/*.rs` and says file, line and rule of every breach.
//! When a rule is in the way, change the code or, with a reason in the commit, the tables at the top.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt;
use std::path::Path;

/// Module, and what it may name of the crate. An entry may reach into a module (`media::Time`) to allow only that.
/// `main` and `load` are the two binaries.
const IMPORTS: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("events", &["metrics"]),
    ("current", &[]),
    ("traces", &["metrics"]),
    ("fetch", &[]),
    ("files", &[]),
    ("access", &["events", "fetch", "files", "metrics"]),
    ("metrics", &[]),
    ("tls", &["current", "metrics"]),
    ("acme", &["events", "fetch", "files", "tls"]),
    ("config", &["access", "current", "events", "fetch", "files", "traces::is_endpoint"]),
    ("logging", &["config", "metrics"]),
    ("hub", &["media", "access", "current", "events", "metrics", "traces"]),
    ("rtmp", &["media", "hub", "access", "current", "events", "metrics", "tls"]),
    ("hls", &["media", "hub", "access", "current", "events", "metrics", "traces"]),
    ("transcode", &["media", "hub", "access", "current", "events", "metrics"]),
    ("webrtc", &["media", "hub", "access", "current", "events", "metrics"]),
    ("doctor", &["media", "hub", "access", "events", "metrics"]),
    (
        "http",
        &[
            "media::Time",
            "media::Config",
            "hub",
            "hls",
            "transcode",
            "webrtc",
            "doctor",
            "access",
            "config",
            "current",
            "events",
            "metrics",
            "tls",
            "traces",
        ],
    ),
    (
        "server",
        &[
            "media",
            "access",
            "acme",
            "fetch",
            "events",
            "metrics",
            "tls",
            "config",
            "current",
            "logging",
            "hub",
            "rtmp",
            "hls",
            "transcode",
            "webrtc",
            "doctor",
            "http",
            "traces",
        ],
    ),
    ("scale", &[]),
    ("main", &["server", "config", "events", "logging", "transcode"]),
    ("load", &["media", "hub", "rtmp", "transcode::wire", "access", "tls"]),
];

/// Paths that a part of the tree must not name, and why. A part is the start of a file's path.
const FORBIDDEN_PATHS: &[(&str, &str, &str)] = &[
    ("src/media/", "tokio", "media is values only: no tasks"),
    ("src/media/", "std::net", "media is values only: no sockets"),
    ("src/media/", "std::fs", "media is values only: no files"),
    ("src/media/", "Instant::now", "media never reads a clock"),
    ("src/media/", "SystemTime", "media never reads a clock"),
];

/// Words that nothing is named by, alone or in a plural: they say nothing about a role.
const EMPTY_NAMES: &[&str] = &["manager", "handler", "helper", "util", "common", "misc"];

/// Lines of the longest file.
const MOST_LINES: usize = 1_000;
/// At least half of the files have fewer lines.
const HALF_BELOW: usize = 200;

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, &root.join("src"), &mut files);
    assert!(files.len() > 10, "the sources were not found");
    let mut breaches: Vec<Breach> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    breaches.extend(check_sizes(files.iter().map(|(_, text)| text.lines().count())));
    let list: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    assert!(list.is_empty(), "{} breaches:\n{}", list.len(), list.join("\n"));
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[derive(Debug, PartialEq)]
struct Breach {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// All rules that concern one file.
fn check(file: &str, text: &str) -> Vec<Breach> {
    let tokens = tokens(text);
    let mut found: Vec<(usize, String)> = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        found.push((lines, format!("a file has at most {MOST_LINES} lines")));
    }
    if !text.starts_with("//!") {
        found.push((1, "a file opens with //! and what it owns".to_owned()));
    }
    check_names(file, &tokens, &mut found);
    check_constructs(file, &tokens, &mut found);
    let home = Home::of(file);
    for (line, path) in paths(&tokens, &home.path) {
        check_import(&home, line, &path, &mut found);
        for (part, forbidden, why) in FORBIDDEN_PATHS {
            if file.starts_with(part) && has_segments(&path, forbidden) {
                found.push((line, format!("`{forbidden}` in {part}: {why}")));
            }
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(line, rule)| Breach { file: file.to_owned(), line, rule }).collect()
}

fn check_sizes(lines: impl Iterator<Item = usize>) -> Option<Breach> {
    let lines: Vec<usize> = lines.collect();
    let small = lines.iter().filter(|&&count| count < HALF_BELOW).count();
    let rule = format!("at least half of the files have fewer than {HALF_BELOW} lines; {small} of {} do", lines.len());
    (small * 2 < lines.len()).then(|| Breach { file: "src".to_owned(), line: 0, rule })
}

fn check_names(file: &str, tokens: &[Token], found: &mut Vec<(usize, String)>) {
    let mut name = |line, what: &str, name: &str| {
        if let Some(word) = words(name).into_iter().find(|word| EMPTY_NAMES.contains(&word.trim_end_matches('s'))) {
            found.push((line, format!("{what} `{name}` is named by `{word}`; name it by its role")));
        }
    };
    for part in file.trim_end_matches(".rs").split('/') {
        name(1, "file", part);
    }
    for pair in tokens.windows(2) {
        if ["struct", "enum", "trait", "type", "union", "mod"].contains(&pair[0].text.as_str()) {
            name(pair[1].line, &pair[0].text, &pair[1].text);
        }
    }
}

fn check_constructs(file: &str, tokens: &[Token], found: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token.text.as_str() {
            "unsafe" => found.push((token.line, "no `unsafe`".to_owned())),
            "unbounded_channel" | "unbounded" => {
                found.push((token.line, format!("`{}`: every queue has a bound", token.text)));
            }
            name if is_gstreamer(name) && !file.starts_with("src/transcode") => {
                found.push((token.line, format!("`{name}`: only src/transcode knows GStreamer")));
            }
            _ => {}
        }
    }
}

fn is_gstreamer(name: &str) -> bool {
    name == "gst" || name.starts_with("gst_") || name.starts_with("gstreamer")
}

fn check_import(home: &Home, line: usize, path: &[String], found: &mut Vec<(usize, String)>) {
    let root = if home.binary { "headwater" } else { "crate" };
    let Some(inner) = path.strip_prefix(&[root.to_owned()]) else { return };
    let Some(target) = inner.first() else { return };
    if *target == home.module {
        return;
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == home.module) else {
        let rule = format!("`{}` is in no table; add it to IMPORTS of tests/architecture.rs", home.module);
        return found.push((line, rule));
    };
    let fits = |entry: &&&str| entry.split("::").eq(inner.iter().take(entry.split("::").count()).map(String::as_str));
    if !allowed.iter().any(|entry| fits(&entry)) {
        let list = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        found.push((line, format!("`{}` may not import `{}`; it may import {list}", home.module, inner.join("::"))));
    }
}

/// Where a file stands in the crate.
struct Home {
    /// Top-level module, or `lib`, `main`, `load`.
    module: String,
    /// From the crate's root.
    path: Vec<String>,
    /// Of a binary, which knows the library as `headwater`.
    binary: bool,
}

impl Home {
    fn of(file: &str) -> Home {
        let inner = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let binary = inner == "main" || inner.starts_with("bin/");
        let path: Vec<String> = match inner {
            "lib" | "main" => Vec::new(),
            _ if binary => inner.split('/').skip(2).filter(|part| *part != "main").map(str::to_owned).collect(),
            _ => inner.split('/').map(str::to_owned).collect(),
        };
        let module = match inner {
            "lib" | "main" => inner,
            _ if binary => "load",
            _ => path.first().map_or("lib", String::as_str),
        };
        Home { module: module.to_owned(), path: path.clone(), binary }
    }
}

/// All paths of two segments or more, `use` trees written out, `self` and `super` resolved to `crate`.
fn paths(tokens: &[Token], home: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // One entry for each open brace: the name of an inline module, or none.
    let mut inline: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let text = token.text.as_str();
        if text == "{" {
            let module = at.checked_sub(2).filter(|&before| tokens[before].text == "mod");
            inline.push(module.map(|_| tokens[at - 1].text.clone()));
        } else if text == "}" {
            inline.pop();
        } else if token.is_name() {
            let module: Vec<String> = home.iter().cloned().chain(inline.iter().flatten().cloned()).collect();
            let start = found.len();
            at = tree(tokens, at, &mut Vec::new(), &mut found);
            for (_, path) in &mut found[start..] {
                *path = absolute(std::mem::take(path), &module);
            }
            continue;
        }
        at += 1;
    }
    found
}

/// Reads the path at `at`, with the group that may end it, and gives the place behind it.
fn tree(tokens: &[Token], mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let depth = prefix.len();
    let line = tokens[at].line;
    prefix.push(tokens[at].text.clone());
    at += 1;
    while tokens.get(at).is_some_and(|token| token.text == "::") {
        at += 1;
        match tokens.get(at) {
            Some(token) if token.is_name() => {
                prefix.push(token.text.clone());
                at += 1;
            }
            Some(token) if token.text == "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = if tokens[at].is_name() { tree(tokens, at, prefix, found) } else { at + 1 };
                }
                prefix.truncate(depth);
                return at + 1;
            }
            _ => break,
        }
    }
    if prefix.len() > 1 {
        found.push((line, prefix.clone()));
    }
    prefix.truncate(depth);
    at
}

fn absolute(path: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| *segment == "super" || *segment == "self").count();
    if ups == 0 {
        return path;
    }
    let supers = path[..ups].iter().filter(|segment| *segment == "super").count();
    let base = &module[..module.len().saturating_sub(supers)];
    let root = std::iter::once("crate".to_owned());
    root.chain(base.iter().cloned()).chain(path[ups..].iter().cloned()).collect()
}

fn has_segments(path: &[String], wanted: &str) -> bool {
    let wanted: Vec<&str> = wanted.split("::").collect();
    path.windows(wanted.len()).any(|window| window.iter().zip(&wanted).all(|(segment, wanted)| segment == wanted))
}

/// `HTTPErrorKind` and `error_kind` to lower-case words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// A name, `::`, or one other character of the code.
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The code without its comments, strings and character literals.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let name = name_length(rest);
        let length = if let Some(length) = silent(rest) {
            length
        } else {
            let length = if name > 0 {
                name
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line, text: rest[..length].to_owned() });
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn name_length(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// Length of what says nothing here: white space, a comment, a string, a character literal, a lifetime.
fn silent(rest: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let prefix = name_length(rest);
    if !["", "b", "r", "br", "c", "cr"].contains(&&rest[..prefix]) {
        return None;
    }
    let (head, body) = rest.split_at(prefix);
    if head.contains('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let open = body[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(rest.len() - open.len() + open.find(&close).map_or(open.len(), |at| at + close.len()));
    }
    match body.chars().next()? {
        '"' => Some(prefix + quoted(body, '"')),
        '\'' if body[1..].starts_with('\\') || body.chars().nth(2) == Some('\'') => Some(prefix + quoted(body, '\'')),
        '\'' => Some(prefix + 1 + name_length(&body[1..])),
        _ => None,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Every rule is broken once on purpose, so that a checker that sees nothing does not pass for a clean house.
mod the_checker {
    use super::*;

    /// Line and rule of each breach in a file that is otherwise in order.
    fn breaches(file: &str, code: &str) -> Vec<String> {
        let found = check(file, &format!("//! A file.\n{code}"));
        found.iter().map(|breach| format!("{}: {}", breach.line, breach.rule)).collect()
    }

    fn breaks(file: &str, code: &str, line: usize, rule: &str) {
        let found = breaches(file, code);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{line}: ")), "{code}: {found:?}");
        assert!(found[0].contains(rule), "{code}: {found:?}");
    }

    #[test]
    fn sees_imports_in_every_form() {
        for code in [
            "use crate::hub::Hub;",
            "use crate::{media::Time, hub::Hub};",
            "use crate::{media::{self, Time}, hub};",
            "use super::super::super::hub::Hub;",
            "pub(crate) use crate::hub::*;",
            "fn f() { let x = crate::hub::Hub::new(); }",
            "fn f(x: &crate::hub::Hub) {}",
            "mod tests { use super::super::super::super::hub::Hub; }",
            "use crate::hub as other;",
        ] {
            breaks("src/media/codec/h264.rs", code, 2, "`media` may not import `hub");
        }
        breaks("src/hls/mod.rs", "\n\nuse crate::rtmp::Session;", 4, "`hls` may not import `rtmp::Session`");
        breaks("src/http/mod.rs", "use crate::media::{Time, Frame};", 2, "`http` may not import `media::Frame`");
        breaks("src/main.rs", "use headwater::hub::Hub;", 2, "`main` may not import `hub::Hub`");
        breaks("src/access.rs", "use super::config::Config;", 2, "`access` may not import `config::Config`");
        breaks("src/novel/mod.rs", "use crate::media::Time;", 2, "`novel` is in no table");
        breaks(
            "src/bin/headwater-load/main.rs",
            "use headwater::server::run;",
            2,
            "`load` may not import `server::run`",
        );
    }

    #[test]
    fn lets_through_what_is_allowed() {
        for (file, code) in [
            ("src/media/codec/h264.rs", "use crate::media::Time; use super::super::Frame; use super::nal;"),
            ("src/hub/log.rs", "use crate::media::Frame; // not use crate::hls::Part;"),
            ("src/hub/log.rs", "const A: &str = \"crate::hls::Part\"; const B: &str = r#\"\"crate::hls::x\"#;"),
            (
                "src/hub/log.rs",
                "/* crate::hls::a /* nested */ crate::hls::b */ const Q: char = '\"'; const R: u8 = b'\\'';",
            ),
            ("src/http/mod.rs", "use crate::media::Time; mod tests { use super::*; use super::super::hls::Hls; }"),
            ("src/bin/headwater-load/view.rs", "use crate::http::Client; use headwater::media::Time;"),
            ("src/main.rs", "use headwater::{config::Config, server};"),
            ("src/lib.rs", "pub use media::Time;"),
            ("src/media/time.rs", "use std::time::Duration; fn f<'a>(x: &'a str) -> Instant { x.now() }"),
        ] {
            assert_eq!(breaches(file, code), Vec::<String>::new(), "{file}: {code}");
        }
    }

    #[test]
    fn sees_what_does_not_belong_into_media() {
        for (code, rule) in [
            ("use tokio::sync::watch;", "no tasks"),
            ("use std::{io, net::TcpStream};", "no sockets"),
            ("fn f() { std::fs::read(p); }", "no files"),
            ("fn f() { let t = std::time::Instant::now(); }", "never reads a clock"),
            ("use std::time::{Duration, SystemTime};", "never reads a clock"),
        ] {
            breaks("src/media/time.rs", code, 2, rule);
            assert_eq!(breaches("src/hls/mod.rs", code), Vec::<String>::new());
        }
    }

    #[test]
    fn sees_names_that_say_nothing() {
        for code in [
            "struct StreamManager;",
            "pub enum HandlerKind {}",
            "trait SegmentHelper {}",
            "type Utils = u8;",
            "mod common;",
            "mod misc_things {}",
        ] {
            breaks("src/hls/mod.rs", code, 2, "name it by its role");
        }
        breaks("src/hls/playlist_utils.rs", "", 1, "name it by its role");
        breaks("src/common/mod.rs", "", 1, "name it by its role");
        assert_eq!(
            breaches("src/hls/mod.rs", "struct Utility; struct Commons2; fn handler() {}"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn sees_constructs_that_are_not_used() {
        breaks("src/hls/mod.rs", "fn f() { unsafe { g() } }", 2, "no `unsafe`");
        breaks("src/hls/mod.rs", "fn f() { mpsc::unbounded_channel() }", 2, "every queue has a bound");
        breaks("src/hls/mod.rs", "use gstreamer_app::AppSrc;", 2, "only src/transcode knows GStreamer");
        assert_eq!(breaches("src/transcode/pipeline.rs", "use gst::prelude::Cast;"), Vec::<String>::new());
        assert_eq!(breaches("src/hls/mod.rs", "// unsafe\n#![deny(unsafe_code)]"), Vec::<String>::new());
    }

    #[test]
    fn sees_files_that_are_long_or_without_a_word() {
        assert_eq!(
            check("src/hls/mod.rs", "use std::io;")[0].to_string().split(": a file").next(),
            Some("src/hls/mod.rs:1")
        );
        breaks("src/hls/mod.rs", &"\n".repeat(1_000), 1_001, "at most 1000 lines");
        assert!(breaches("src/hls/mod.rs", &"\n".repeat(999)).is_empty());
        assert!(check_sizes([199, 200, 500].into_iter()).is_some());
        assert!(check_sizes([199, 200].into_iter()).is_none());
    }
}
