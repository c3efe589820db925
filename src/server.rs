//! Builds and wires everything in order; drains on shutdown.

use crate::config::Config;

/// Why the server ended other than as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

impl Error {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// Serves until told to stop.
pub fn run(_config: Config) -> Result<(), Error> {
    Ok(())
}
