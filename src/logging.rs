//! Log lines: sets up `tracing` once, for `main`. Everybody else uses the macros and never this.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is none; its text is that of `log.level`.
    #[error("log.level: {0:?} cannot be understood; write it as info, or as info,headwater::rtmp=debug")]
    Filter(String),
    /// Somebody was here before.
    #[error("logging was set up twice")]
    Twice,
}

/// Writes what passes the filter (`info,headwater::rtmp=debug`) to standard error, with the fields of the spans around it.
///
/// `auto` is text everywhere, because container logs and journals are read by people too; colours are for terminals.
pub fn init(filter: &str, format: LogFormat) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter).map_err(|_| Error::Filter(filter.to_owned()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
        LogFormat::Auto if std::io::stderr().is_terminal() => lines.finish().try_init(),
        LogFormat::Auto | LogFormat::Text => lines.with_ansi(false).finish().try_init(),
    };
    set.map_err(|_| Error::Twice)
}
