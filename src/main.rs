//! The `headwater` program: arguments in, server run, exit code out.

use std::io::Write;
use std::process::ExitCode;

use headwater::config::{Action, Effective, Invocation};
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
    match (invocation.load(), &invocation.action) {
        (Err(errors), _) => fail(&errors, CONFIGURATION),
        (Ok(effective), Action::Check) => check(&effective),
        (Ok(effective), _) => serve(effective),
    }
}

fn check(effective: &Effective) -> ExitCode {
    let read = effective.file.as_ref().map_or("no file read".to_owned(), |file| format!("file {}", file.display()));
    // A reader that went away has seen enough.
    let _ = write!(std::io::stdout().lock(), "configuration ok ({read})\n{}", effective.show());
    ExitCode::SUCCESS
}

fn serve(effective: Effective) -> ExitCode {
    let log = &effective.config.log;
    let logging = match logging::init(&log.level, log.format) {
        Ok(logging) => logging,
        Err(error) => return fail(&error, CONFIGURATION),
    };
    let served = server::run(effective.config);
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
