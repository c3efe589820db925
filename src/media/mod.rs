//! Media as values: bytes in, values out. Owns time, the canonical [`Frame`], codec configuration records, the container
//! formats and the loudness of samples. Everyone above may use it. It never touches a socket, a clock, a task or a file.

pub mod codec;
pub mod flv;
pub mod fmp4;
pub mod frame;
pub mod loudness;
pub mod time;

pub use frame::{AudioConfig, Codec, Config, Cut, Frame, Kind, VideoConfig};
pub use loudness::Loudness;
pub use time::Time;
