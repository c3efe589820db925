//! One live stream: its name, epoch, state and frame log.

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// A publisher is connected, but no key frame has come yet.
    Starting,
    /// Media flows.
    Live,
    /// The publisher vanished; the reconnect window runs.
    Waiting,
    /// Over.
    Ended,
}

/// Which tracks a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tracks {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

/// One live stream.
#[derive(Debug)]
pub struct Stream {
    _private: (),
}
