//! The ladder: rungs of other sizes and bit rates, made from a stream by worker processes of this same program, each
//! frame on the stream's own timeline and each segment on its cuts. `server` starts the [`Transcoder`]; `main` calls
//! [`worker::run`] in a child process. Packages nothing; talks to viewers never.

mod level;
pub mod policy;
pub mod wire;
