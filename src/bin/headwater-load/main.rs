//! `headwater-load`: puts load on a live streaming server and says how well it bore it. Publishes RTMP streams, plays
//! LL-HLS and WHEP as many viewers, and measures the way from publishing a frame to having it in a part. Arguments in, one mode run, its
//! summary out; the modes are in their own files:
//!
//! | file | owns |
//! |---|---|
//! | `publish`, `churn` | many publishers: in step with the clock; coming and going |
//! | `publisher`, `flv` | one RTMP session; the clip that all publish |
//! | `play`, `view` | which playlist over which HTTP; many viewers: threads, ramp, summary |
//! | `viewer`, `follow`, `window`, `playlist` | one viewer, one of its renditions, what its lanes share, the line scanner |
//! | `latency`, `moof` | publish to part, frame by frame; the boxes of a part |
//! | `log` | the frame log under many readers, without a server |
//! | `whep` | many WebRTC viewers, staying or coming and going; from publishing a packet to having it |
//! | `ladder` | what a ladder's worker costs and how long it takes, without a server |
//! | `http`, `wire`, `tls`, `target` | connections; whom they go to |
//! | `tally`, `progress`, `report` | measuring, showing, printing |
//!
//! Load goes to this machine only, unless `--allow-remote` is given.

mod churn;
mod descriptors;
#[cfg(test)]
mod fake;
mod flv;
mod follow;
mod http;
mod ladder;
mod latency;
mod log;
mod moof;
mod play;
mod playlist;
mod progress;
mod publish;
mod publisher;
mod report;
mod tally;
mod target;
mod tls;
mod view;
mod viewer;
mod whep;
mod window;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

/// What a mode gives back.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(
    name = "headwater-load",
    version,
    about = "Puts load on a live streaming server and says how well it bore it."
)]
struct Arguments {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Let the load go to other machines; make sure that they are yours
    #[arg(long, global = true)]
    allow_remote: bool,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    Publish(publish::Publish),
    View(view::View),
    Latency(latency::Latency),
    Churn(churn::Churn),
    Log(log::Log),
    Ladder(ladder::Ladder),
    Whep(whep::Whep),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let remote = arguments.allow_remote;
    let done = match &arguments.mode {
        Mode::Publish(mode) => mode.run(remote).and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::Latency(mode) => mode.run(remote).and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::Churn(mode) => mode.run(remote).and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::Log(mode) => mode.run().and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::Ladder(mode) => mode.run().and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::Whep(mode) => mode.run(remote).and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
        Mode::View(mode) => mode.run(remote).and_then(|s| arguments.show(&s, s.worked(), |out| s.print(out))),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "headwater-load: {error}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    /// Prints a summary in the form asked for, and passes on whether the run worked.
    fn show<S: Serialize>(
        &self,
        summary: &S,
        worked: bool,
        print: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Outcome<bool> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, summary)?;
            writeln!(out)?;
        } else {
            print(&mut out)?;
        }
        Ok(worked)
    }
}

/// A single-threaded runtime; every mode runs one per thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Parses a number of seconds up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to 86400".to_owned()),
    }
}

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
