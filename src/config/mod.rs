//! The configuration: built-in defaults, then a file, then what the API set, then the environment, then flags, each over the
//! one before. `main` asks for it once and hands the result on; a running server asks [`Control`] for changes. Nothing else in
//! the crate reads the file, the environment or the arguments, and nothing in here acts on what it reads: no socket is
//! opened, no task is started.
//!
//! [`Config`] is the one list of options. Their names in the environment (`HEADWATER_RTMP_LISTEN`) and as flags
//! (`--rtmp-listen`) are derived from its default value, so an option that is added there exists everywhere.

mod args;
mod control;
mod diff;
mod error;
mod file;
mod ice;
mod keys;
mod ladder;
mod live;
mod load;
mod options;
mod overrides;
mod secret;
mod sections;
mod show;
mod units;
mod validate;

pub use args::{Action, Invocation, names_gstreamer_registry};
pub use control::{Applied, Apply, Changes, Checked, Control, OptionInfo, Reloaded, Wrong};
pub use diff::{Change, diff};
pub use error::{Error, Errors, Origin};
pub use file::File;
pub use ice::{IceServer, server as ice_server};
pub use ladder::{BadRung, LadderRule, RungRule};
pub use live::When;
pub use load::{Effective, Input, load};
pub use sections::{
    Access, Acme, Admin, Asked, Config, Data, Encoder, Hls, Http, Hub, LadderMode, Log, LogFormat, Preset, Rtmp,
    Server, Takeover, Telemetry, Tls, Transcode, Unpublish, Webrtc,
};
pub use units::{BadUnit, Bitrate, Size, Time};
