//! The `headwater` program: arguments in, server run, exit code out.

use std::io::Write;
use std::process::ExitCode;

use headwater::config::{Action, Effective, Invocation};
use headwater::{logging, server};

/// Many small, short-lived buffers on all threads: mimalloc keeps resident memory flat where the system's allocator grows.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = Invocation::of_process();
    match (invocation.load(), invocation.action) {
        (Err(errors), _) => fail(&errors, CONFIGURATION),
        (Ok(effective), Action::Check) => check(&effective),
        (Ok(effective), Action::Serve) => serve(effective),
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
