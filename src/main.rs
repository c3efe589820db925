//! The `headwater` program: arguments in, server run, exit code out.

use std::io::Write;
use std::process::ExitCode;

use headwater::config::{Action, Control, Effective, Invocation};
use headwater::events::Events;
use headwater::{logging, server, transcode};

/// Media is allocated on one thread and freed on another, and the one that allocated it may sleep from then on: jemalloc
/// gives memory back on a thread of its own, and not only on the way through an allocation. `.cargo/config.toml` has its
/// settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let invocation = Invocation::of_process();
    if let Action::Worker { probe } = &invocation.action {
        return transcode::worker::run(probe.as_deref());
    }
    match invocation.action {
        Action::Check { diff } => match invocation.load() {
            Ok(effective) => check(&effective, diff),
            Err(errors) => fail(&errors, CONFIGURATION),
        },
        _ => match Control::load(invocation, Events::new()) {
            Ok(control) => serve(control),
            Err(errors) => fail(&errors, CONFIGURATION),
        },
    }
}

fn check(effective: &Effective, diff: bool) -> ExitCode {
    let read = effective.file.as_ref().map_or("no file read".to_owned(), |file| format!("file {}", file.display()));
    let shown = if diff { effective.show_changes() } else { effective.show() };
    // A reader that went away has seen enough.
    let _ = write!(std::io::stdout().lock(), "configuration ok ({read})\n{shown}");
    ExitCode::SUCCESS
}

fn serve(control: Control) -> ExitCode {
    let log = control.configured().config.log;
    let logging = match logging::init(&log.level, log.format) {
        Ok(logging) => logging,
        Err(error) => return fail(&error, CONFIGURATION),
    };
    let served = server::run(&control, &logging);
    drop(logging);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "{error}");
    ExitCode::from(code)
}

/// The exit code for a configuration or arguments that are wrong; `server::Error` knows the others.
const CONFIGURATION: u8 = 2;
