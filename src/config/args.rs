//! The command line: what the process is asked to do, with one flag per option of the configuration. `main` calls it
//! first. Together with `file` it is the only place that looks at the arguments, the environment and the file system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::error::{Error, Errors, Origin};
use super::file::File;
use super::load::{self, Effective, FILE_VARIABLE, Input};
use super::options::{self, Spec};
use super::overrides;
use super::units::{Size, Time};

/// What the process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve until told to stop.
    Serve,
    /// Say whether the configuration is right, and what it is.
    Check {
        /// Say what differs from the defaults, and from when other values would hold in a running server.
        diff: bool,
    },
    /// Be a worker process of a server that has started this one; without any configuration.
    Worker {
        /// Say what works on this machine with this speed preset of x264, and end.
        probe: Option<String>,
    },
}

/// A command line that was understood, and the environment it came with.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub action: Action,
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
    environment: Vec<(OsString, OsString)>,
}

impl Invocation {
    /// Reads the arguments and the environment of this process. For `--help`, `--version` and wrong usage it prints and
    /// ends the process, with 0 or 2.
    pub fn of_process() -> Invocation {
        match Invocation::parse(std::env::args_os(), std::env::vars_os()) {
            Ok(invocation) => invocation,
            Err(error) => error.exit(),
        }
    }

    /// The same for any arguments and variables; the first argument is the program's name.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Invocation, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let action = match matches.subcommand() {
            Some(("check", check)) => Action::Check { diff: check.get_flag("diff") },
            Some(("worker", worker)) => Action::Worker { probe: worker.get_one("probe").cloned() },
            _ => Action::Serve,
        };
        // Global flags reach the subcommand's matches, wherever they were written.
        let matches = matches.subcommand().map_or(&matches, |(_, inner)| inner);
        Ok(Invocation {
            action,
            file: matches.get_one::<PathBuf>("config").cloned(),
            flags: options::all().iter().filter_map(|spec| flag(matches, spec)).collect(),
            environment: environment.into_iter().filter(|(name, _)| is_ours(name)).collect(),
        })
    }

    /// Reads the file, if there is one, and puts everything together.
    pub fn load(&self) -> Result<Effective, Errors> {
        self.read().map(|(_, effective)| effective)
    }

    /// The same, with the layers that it was made of.
    pub(super) fn read(&self) -> Result<(Input, Effective), Errors> {
        let mut errors = Vec::new();
        let mut input = Input { flags: self.flags.clone(), ..Input::default() };
        for (name, value) in &self.environment {
            match (name.to_str(), value.to_str()) {
                (Some(name), Some(value)) => input.environment.push((name.to_owned(), value.to_owned())),
                _ => errors.push(Error {
                    origin: Origin::Environment(name.to_string_lossy().into_owned()),
                    option: None,
                    problem: "the name or value is no UTF-8 text; write it anew".to_owned(),
                }),
            }
        }
        input.environment.sort();
        match self.path(&input).map(|path| File::read(&path)).transpose() {
            Ok(file) => input.file = file,
            Err(error) => errors.push(error),
        }
        match File::read_if_any(&overrides::path(&input)) {
            Ok(file) => input.overrides = file,
            Err(error) => errors.push(error),
        }
        match load::load(&input) {
            Ok(effective) if errors.is_empty() => Ok((input, effective)),
            Ok(_) => Err(Errors::new(errors)),
            Err(more) => Err(Errors::new(errors.into_iter().chain(more.iter().cloned()).collect())),
        }
    }

    /// The file that [`Invocation::load`] would read now.
    pub fn file(&self) -> Option<PathBuf> {
        let named = |(name, value): &(OsString, OsString)| {
            (name == FILE_VARIABLE).then(|| (FILE_VARIABLE.to_owned(), value.to_string_lossy().into_owned()))
        };
        self.path(&Input { environment: self.environment.iter().filter_map(named).collect(), ..Input::default() })
    }

    /// An empty variable names no file: that is how many tools write one that is not set.
    fn path(&self, input: &Input) -> Option<PathBuf> {
        let named = |(name, path): &&(String, String)| name == FILE_VARIABLE && !path.is_empty();
        let variable = || input.environment.iter().find(named).map(|(_, path)| path.into());
        self.file.clone().or_else(variable).or_else(|| File::usual().map(Path::to_owned))
    }
}

/// Whether the environment says already where GStreamer keeps what it knows of its plugins.
pub fn names_gstreamer_registry() -> bool {
    std::env::vars_os().any(|(name, path)| name == "GST_REGISTRY" && !path.is_empty())
}

fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .value_parser(clap::value_parser!(PathBuf))
        .global(true)
        .help("Configuration file [default: config/headwater.toml or /etc/headwater/headwater.toml, if one exists]");
    let diff = Arg::new("diff")
        .long("diff")
        .action(ArgAction::SetTrue)
        .help("Print only what differs from the defaults, and whether a running server takes it on");
    let check = Command::new("check")
        .about("Check the configuration, print it with the origin of each value, and exit")
        .arg(diff);
    let probe = Arg::new("probe").long("probe").value_name("PRESET");
    let worker =
        Command::new("worker").about("For the server's own use: make the rungs of a stream").hide(true).arg(probe);
    Command::new("headwater")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A live streaming server: RTMP in, low-latency HLS out. Without a command it serves.")
        .after_help("--help lists a flag for every option of the configuration.")
        .after_long_help(AFTER)
        .arg(file)
        .args(options::all().iter().map(argument))
        .subcommand(check)
        .subcommand(worker)
        .disable_help_subcommand(true)
}

/// The flag of an option. A short help would drown in all of them.
fn argument(spec: &'static Spec) -> Arg {
    Arg::new(spec.name.as_str())
        .long(spec.flag.as_str())
        .value_name(value_name(spec))
        .help(help(spec))
        .help_heading(Some(spec.section.as_str()))
        .allow_negative_numbers(true)
        .hide_short_help(true)
        .global(true)
}

fn help(spec: &Spec) -> String {
    match spec.example() {
        none if none.is_empty() => spec.about.to_owned(),
        default => format!("{} [default: {default}]", spec.about),
    }
}

fn value_name(spec: &Spec) -> &'static str {
    let Some(text) = spec.default.as_str() else {
        return match spec.default {
            toml::Value::Integer(_) => "NUMBER",
            toml::Value::Boolean(_) => "true|false",
            _ => "LIST",
        };
    };
    match text {
        _ if text.parse::<Time>().is_ok() => "TIME",
        _ if text.parse::<Size>().is_ok() => "SIZE",
        _ if spec.key.ends_with("listen") => "ADDRESS",
        _ => "TEXT",
    }
}

fn flag(matches: &ArgMatches, spec: &Spec) -> Option<(String, String)> {
    matches.get_one::<String>(&spec.name).map(|value| (spec.flag.clone(), value.clone()))
}

fn is_ours(variable: &OsString) -> bool {
    variable.as_encoded_bytes().starts_with(options::PREFIX.as_bytes())
}

const AFTER: &str = "\
Each option is also a line of the configuration file and an environment variable: --rtmp-listen is \
listen below [rtmp], and HEADWATER_RTMP_LISTEN. Flags win over the environment, the environment over the file, the file \
over the defaults. HEADWATER_CONFIG names the file as --config does. Secrets belong into the file or the environment: \
arguments are visible to other users of the machine.

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong configuration or arguments, 3 a port could not be opened.";
