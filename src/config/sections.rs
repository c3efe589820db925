//! Every option of the server with its type and built-in default: one struct per section of the file. The rest of the
//! crate reads these values. What they may be together is checked in `validate`, not here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ladder::{self, LadderRule, RungRule};
use super::units::{self, BadUnit, Bitrate, Size, Time};
use crate::access::Key;

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where viewers come.
    pub http: Http,
    /// Where the operator comes.
    pub admin: Admin,
    /// Where broadcasters come.
    pub rtmp: Rtmp,
    /// Where browsers and WHIP broadcasters send and take media.
    pub webrtc: Webrtc,
    /// The certificate of all TLS listeners.
    pub tls: Tls,
    /// Where files are kept.
    pub data: Data,
    /// Who may publish.
    pub access: Access,
    /// Live names and their frame logs.
    pub hub: Hub,
    /// How streams are packaged.
    pub hls: Hls,
    /// What is made of streams beside their source.
    pub transcode: Transcode,
    /// What is told of streams that are sent wrongly.
    pub doctor: Doctor,
    /// What is written to standard error.
    pub log: Log,
    /// The process as a whole.
    pub server: Server,
}

/// `[http]`: the listeners for viewers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port for HTTP/1.1 and HTTP/2 without TLS.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// The same with TLS; none is off.
    #[serde(with = "units::optional_address")]
    pub tls_listen: Option<SocketAddr>,
    /// Connections at a time over both listeners; one more is answered with 503 and closed.
    pub max_connections: usize,
    /// A request's header must be complete within this time.
    pub header_timeout: Time,
    /// A client that takes nothing of a response for this long is closed.
    pub write_timeout: Time,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Time,
    /// How viewers reach this server, as start-up lines and pages print it (`https://live.example.org`); may be empty.
    pub public_url: String,
    /// Origins whose pages may play streams from here; `*` is everybody.
    pub allow_origins: Vec<String>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: everywhere(8080),
            tls_listen: None,
            max_connections: 20_000,
            header_timeout: Time::secs(10),
            write_timeout: Time::secs(30),
            idle_timeout: Time::secs(60),
            public_url: String::new(),
            allow_origins: vec!["*".to_owned()],
        }
    }
}

/// `[admin]`: the listener for the operator.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port of the admin page and of `/metrics`.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)) }
    }
}

/// `[rtmp]`: the listeners for broadcasters.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtmp {
    /// Address and port for RTMP.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Address and port for RTMPS; none is off.
    #[serde(with = "units::optional_address")]
    pub tls_listen: Option<SocketAddr>,
    /// Connections at a time over both listeners; one more is closed at once.
    pub max_connections: usize,
    /// TLS, handshake and `connect` must be done within this time.
    pub handshake_timeout: Time,
    /// The longest message that is put together; a longer one closes its connection.
    pub max_message: Size,
}

impl Default for Rtmp {
    fn default() -> Rtmp {
        Rtmp {
            listen: everywhere(1935),
            tls_listen: None,
            max_connections: 2_000,
            handshake_timeout: Time::secs(10),
            max_message: Size::mib(8),
        }
    }
}

/// `[webrtc]`: the port for media of WHIP and WHEP. Offers and answers go over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webrtc {
    /// Serves WHIP and WHEP.
    pub enabled: bool,
    /// Address and port of media, UDP and TCP alike.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Addresses that clients reach this machine at, where they are not those of its interfaces.
    pub public_addresses: Vec<IpAddr>,
    /// `HOST:PORT` of a STUN server to ask for the public address; may be empty.
    pub discover: String,
    /// Clients are told of the addresses of the interfaces too.
    pub advertise_local: bool,
    /// STUN and TURN servers that clients are told of: `stun:HOST:PORT`, `turn:USER:PASSWORD@HOST:PORT`.
    pub ice_servers: Vec<String>,
    /// Sessions at a time, both ways.
    pub max_sessions: usize,
    /// Publishers are asked for a key frame at least so often.
    pub key_interval: Time,
    /// A viewer of a stream that is off the air waits for it so long; zero refuses at once.
    pub wait: Time,
}

impl Default for Webrtc {
    fn default() -> Webrtc {
        Webrtc {
            enabled: true,
            listen: everywhere(8189),
            public_addresses: Vec::new(),
            discover: String::new(),
            advertise_local: true,
            ice_servers: Vec::new(),
            max_sessions: 10_000,
            key_interval: Time::secs(2),
            wait: Time::secs(0),
        }
    }
}

/// `[tls]`: one certificate for every TLS listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    #[serde(with = "units::optional_path")]
    pub cert: Option<PathBuf>,
    /// PEM file with the private key.
    #[serde(with = "units::optional_path")]
    pub key: Option<PathBuf>,
    /// How often the two files are looked at for a change.
    pub reload_interval: Time,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { cert: None, key: None, reload_interval: Time::secs(10) }
    }
}

/// `[data]`: the files of the server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Directory for what must outlive the process.
    pub dir: PathBuf,
}

impl Default for Data {
    fn default() -> Data {
        Data { dir: "./data".into() }
    }
}

/// `[access]`: who may publish.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The secrets that open stream names; with none, only this machine may publish.
    #[serde(with = "keys")]
    pub keys: Vec<Key>,
}

/// `[hub]`: live names and their memory.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hub {
    /// Who wins a name that is asked for twice.
    #[serde(deserialize_with = "units::from_text")]
    pub takeover: Takeover,
    /// How long a stream waits for a publisher that vanished.
    pub reconnect_window: Time,
    /// A publisher that sends no media for this long loses its name.
    pub media_idle: Time,
    /// What happens when a publisher says goodbye.
    #[serde(deserialize_with = "units::from_text")]
    pub on_unpublish: Unpublish,
    /// Streams at a time.
    pub max_streams: usize,
    /// Bytes of frames kept of one stream.
    pub stream_memory: Size,
    /// Bytes of frames and packaged media kept of all streams.
    pub memory: Size,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            takeover: Takeover::Newest,
            reconnect_window: Time::secs(30),
            media_idle: Time::secs(5),
            on_unpublish: Unpublish::End,
            max_streams: 1_000,
            stream_memory: Size::mib(64),
            memory: Size::mib(2_048),
        }
    }
}

/// `[hls]`: how streams are packaged.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hls {
    /// Length of a part (PART-TARGET).
    pub part_target: Time,
    /// Parts that players stay behind the live edge (PART-HOLD-BACK in parts).
    pub hold_back_parts: u32,
    /// A segment ends at the first key frame after this time.
    pub segment_target: Time,
    /// A segment ends after this time, key frame or not.
    pub segment_max: Time,
    /// Length of past segments that stay playable.
    pub window: Time,
    /// How long a stream that ended stays watchable.
    pub linger: Time,
    /// How long the first playlist request waits for the first segment.
    pub start_timeout: Time,
}

impl Default for Hls {
    fn default() -> Hls {
        Hls {
            part_target: Time::millis(256),
            hold_back_parts: 3,
            segment_target: Time::secs(2),
            segment_max: Time::secs(10),
            window: Time::secs(30),
            linger: Time::secs(60),
            start_timeout: Time::secs(15),
        }
    }
}

/// `[transcode]`: the ladder of rungs, and still pictures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transcode {
    /// When rungs are made.
    #[serde(deserialize_with = "units::from_text")]
    pub mode: LadderMode,
    /// The rungs of streams that no entry of `ladders` names, the best first; may be empty.
    pub rungs: Vec<RungRule>,
    /// A rung stops so long after it was last asked for.
    pub idle: Time,
    /// The encoder that is tried first.
    #[serde(deserialize_with = "units::from_text")]
    pub encoder: Encoder,
    /// The speed preset of x264.
    #[serde(deserialize_with = "units::from_text")]
    pub preset: Preset,
    /// Of sound that must be made anew.
    pub audio_bitrate: Bitrate,
    /// A worker process that grows beyond this is started anew.
    pub worker_memory: Size,
    /// Niceness of worker processes, 0 to 19, above the server's own.
    pub nice: u8,
    /// Streams that have rungs at a time.
    pub max_ladders: usize,
    /// How often a still picture of each live stream is made; zero is never.
    pub thumbnails: Time,
    /// Width of still pictures in pixels.
    pub thumbnail_width: u32,
    /// Rungs and modes of some streams; the first entry whose pattern fits wins.
    pub ladders: Vec<LadderRule>,
}

impl Default for Transcode {
    fn default() -> Transcode {
        Transcode {
            mode: LadderMode::Watched,
            rungs: ladder::usual(),
            idle: Time::secs(20),
            encoder: Encoder::Auto,
            preset: Preset::VeryFast,
            audio_bitrate: Bitrate::kilobits(128),
            worker_memory: Size::mib(1_024),
            nice: 5,
            max_ladders: 16,
            thumbnails: Time::secs(5),
            thumbnail_width: 640,
            ladders: Vec::new(),
        }
    }
}

/// `[doctor]`: what is wrong with a stream, and the setting that mends it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Doctor {
    /// Looks at every stream.
    pub enabled: bool,
    /// Key frames further apart than this are too far apart.
    pub max_gop: Time,
}

impl Default for Doctor {
    fn default() -> Doctor {
        Doctor { enabled: true, max_gop: Time::secs(4) }
    }
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least level that is written, or a level per module: `info,headwater::rtmp=debug`.
    pub level: String,
    /// How lines look.
    #[serde(deserialize_with = "units::from_text")]
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// `[server]`: the process as a whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads; 0 is one per core.
    pub threads: usize,
    /// How long viewers may finish after SIGTERM.
    pub drain: Time,
}

impl Default for Server {
    fn default() -> Server {
        Server { threads: 0, drain: Time::secs(10) }
    }
}

/// An enum whose values are words in the configuration.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $all:literal { $($(#[$value_doc:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl FromStr for $name {
            type Err = BadUnit;

            fn from_str(text: &str) -> Result<$name, BadUnit> {
                match text {
                    $($word => Ok($name::$value),)*
                    _ => Err(BadUnit::Word(text.to_owned(), $all)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($name::$value => $word,)*
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    };
}

words! {
    /// Who wins a name that is asked for twice.
    Takeover: "newest or reject" {
        /// The newest publisher takes it; the older one is told and closed.
        Newest = "newest",
        /// The older one stays; the newer one is told why not.
        Reject = "reject",
    }
}

words! {
    /// What a publisher's goodbye means.
    Unpublish: "end or wait" {
        /// The stream ends at once.
        End = "end",
        /// The stream waits, as if the publisher had vanished.
        Wait = "wait",
    }
}

words! {
    /// When the rungs of a stream are made.
    LadderMode: "watched, rung, always or off" {
        /// All of them, while anybody watches the stream.
        Watched = "watched",
        /// Each of them, while somebody watches that rung.
        Rung = "rung",
        /// All of them, as long as the stream is live.
        Always = "always",
        /// Never.
        Off = "off",
    }
}

words! {
    /// The H.264 encoder that is tried first, by its GStreamer name.
    Encoder: "auto, x264enc, openh264enc, nvh264enc, vah264enc, vaapih264enc, qsvh264enc, msdkh264enc or v4l2h264enc" {
        /// The best that works.
        Auto = "auto",
        /// x264, on the processor.
        X264 = "x264enc",
        /// OpenH264, on the processor.
        OpenH264 = "openh264enc",
        /// NVIDIA's NVENC.
        Nv = "nvh264enc",
        /// VA-API.
        Va = "vah264enc",
        /// VA-API, the older plugin.
        Vaapi = "vaapih264enc",
        /// Intel's Quick Sync.
        Qsv = "qsvh264enc",
        /// Intel's Quick Sync, the older plugin.
        Msdk = "msdkh264enc",
        /// A device of the kernel's Video4Linux.
        V4l2 = "v4l2h264enc",
    }
}

words! {
    /// The speed preset of x264, the fastest first.
    Preset: "ultrafast, superfast, veryfast, faster, fast, medium or slow" {
        /// The least work.
        UltraFast = "ultrafast",
        /// More of it.
        SuperFast = "superfast",
        /// The usual one for live streams.
        VeryFast = "veryfast",
        /// More of it.
        Faster = "faster",
        /// More of it.
        Fast = "fast",
        /// The encoder's own default.
        Medium = "medium",
        /// The most work that is allowed.
        Slow = "slow",
    }
}

words! {
    /// How log lines look.
    LogFormat: "auto, text or json" {
        /// Text, coloured on a terminal.
        Auto = "auto",
        /// Text without colours.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

/// `[[access.keys]]` tables. No error of these says what stood in `secret`, and writing them out hides it.
mod keys {
    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::{SerializeSeq, Serializer};
    use std::fmt;

    use crate::access::{Key, Secret, StreamName};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default, deserialize_with = "stream")]
        stream: Option<StreamName>,
        #[serde(deserialize_with = "secret")]
        secret: Secret,
    }

    #[derive(serde::Serialize)]
    struct Shown<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<&'a str>,
        secret: String,
    }

    pub(super) fn serialize<S: Serializer>(keys: &[Key], s: S) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(keys.len()))?;
        for key in keys {
            let stream = key.stream.as_ref().map(StreamName::as_str);
            seq.serialize_element(&Shown { stream, secret: format!("{:?}", key.secret) })?;
        }
        seq.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Key>, D::Error> {
        d.deserialize_seq(Keys)
    }

    struct Keys;

    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<Key>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables with stream and secret")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Key>, A::Error> {
            let mut keys = Vec::new();
            while let Some(Table { stream, secret }) = seq.next_element()? {
                keys.push(Key { stream, secret });
            }
            Ok(keys)
        }
    }

    fn stream<'de, D: Deserializer<'de>>(d: D) -> Result<Option<StreamName>, D::Error> {
        let text = String::deserialize(d)?;
        StreamName::new(&text).map(Some).map_err(D::Error::custom)
    }

    fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Secret, D::Error> {
        // Whatever serde would say about a number or a list in this place would show it.
        let text = String::deserialize(d).map_err(|_| D::Error::custom("the secret is no text; put it in quotes"))?;
        if text.is_empty() {
            return Err(D::Error::custom("the secret is empty; write a long random text"));
        }
        // A stream key is written NAME?key=SECRET: these would end the secret early.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '&')) {
            return Err(D::Error::custom("the secret has a space, '?' or '&'; write letters and digits"));
        }
        Ok(Secret::new(&text))
    }
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}
