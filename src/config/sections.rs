//! Every option of the server with its type and built-in default: one struct per section of the file. The rest of the
//! crate reads these values. What they may be together is checked in `validate`, not here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ladder::{self, LadderRule, RungRule};
use super::units::{self, BadUnit, Bitrate, Size, Time};
use crate::access::{Key, Network, Secret, StreamPattern};

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
    /// Where that certificate comes from, if not from files.
    pub acme: Acme,
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
    /// What a collector is told.
    pub telemetry: Telemetry,
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
    /// Proxies whose X-Forwarded-For says who a request is from, here and at the operator's listener.
    pub trusted_proxies: Vec<Network>,
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
            trusted_proxies: this_machine(),
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
    /// What an operator must show; none makes one and keeps it in the data directory.
    #[serde(with = "super::secret")]
    pub token: Option<Secret>,
    /// Networks that operators may come from; none is everywhere.
    pub allow: Vec<Network>,
    /// Networks that they may not come from.
    pub deny: Vec<Network>,
    /// What reads `/metrics` from another machine; none: the admin token alone does.
    #[serde(with = "super::secret")]
    pub metrics_token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Admin {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        Admin { listen, token: None, metrics_token: None, allow: Vec::new(), deny: Vec::new() }
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

/// `[acme]`: a certificate that is got and renewed by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// Names that the certificate is for; none gets no certificate.
    pub domains: Vec<String>,
    /// Whether the authority's terms of service are agreed to.
    pub accept_terms: bool,
    /// Mail address for the authority's notices; may be empty.
    pub contact: String,
    /// The authority's directory.
    pub directory: String,
    /// PEM file of authorities by which the directory itself is trusted, beside the system's.
    #[serde(with = "units::optional_path")]
    pub ca_file: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            domains: Vec::new(),
            accept_terms: false,
            contact: String::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca_file: None,
        }
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

/// `[access]`: who may publish, and watch.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The secrets that open stream names; with none, neither here nor made on the admin page, only this machine may publish.
    #[serde(with = "super::keys")]
    pub keys: Vec<Key>,
    /// Streams that only those may watch who show that they may.
    pub private: Vec<StreamPattern>,
    /// Networks that publishers may come from; none is everywhere.
    pub publish_allow: Vec<Network>,
    /// Networks that they may not come from.
    pub publish_deny: Vec<Network>,
    /// Networks that viewers may come from; none is everywhere.
    pub play_allow: Vec<Network>,
    /// Networks that they may not come from.
    pub play_deny: Vec<Network>,
    /// Wrong keys of one address before it has to wait.
    pub failed_keys: u32,
    /// The longest such wait.
    pub failed_wait: Time,
    /// Publishers and WHEP viewers of one address at a time; 0 is any number.
    pub sessions_per_address: usize,
    /// Shared with who signs tokens by HS256; none takes no such tokens.
    #[serde(with = "super::secret")]
    pub jwt_secret: Option<Secret>,
    /// PEM files with public keys of who signs tokens by RS256 or ES256.
    pub jwt_keys: Vec<PathBuf>,
    /// Address of a set of such keys; may be empty.
    pub jwks_url: String,
    /// Who must have issued tokens; may be empty.
    pub jwt_issuer: String,
    /// Whom tokens must be for; may be empty.
    pub jwt_audience: String,
    /// Address that is asked where neither key nor token answers; may be empty.
    pub webhook_url: String,
    /// What questions are signed with.
    #[serde(with = "super::secret")]
    pub webhook_secret: Option<Secret>,
    /// What is asked about.
    #[serde(deserialize_with = "asked")]
    pub webhook_actions: Vec<Asked>,
    /// For a whole answer.
    pub webhook_timeout: Time,
    /// So long a permission is kept.
    pub webhook_cache: Time,
    /// Hosts of the web sites whose pages may play streams; none lets in all.
    pub referrers: Vec<String>,
    /// Whether players that do not say which page they are on are welcome where `referrers` are listed.
    pub empty_referrer: bool,
    /// Viewers of one stream at a time; 0 sets no limit.
    pub viewers_per_stream: usize,
    /// Viewers of one address at a time; 0 sets no limit.
    pub viewers_per_address: usize,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            keys: Vec::new(),
            private: Vec::new(),
            publish_allow: Vec::new(),
            publish_deny: Vec::new(),
            play_allow: Vec::new(),
            play_deny: Vec::new(),
            failed_keys: 10,
            failed_wait: Time::secs(300),
            sessions_per_address: 0,
            jwt_secret: None,
            jwt_keys: Vec::new(),
            jwks_url: String::new(),
            jwt_issuer: String::new(),
            jwt_audience: String::new(),
            webhook_url: String::new(),
            webhook_secret: None,
            webhook_actions: vec![Asked::Publish],
            webhook_timeout: Time::secs(3),
            webhook_cache: Time::secs(60),
            referrers: Vec::new(),
            empty_referrer: true,
            viewers_per_stream: 0,
            viewers_per_address: 0,
        }
    }
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
    /// Multivariant playlists give every player an id, by which viewers are counted.
    pub viewer_ids: bool,
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
            viewer_ids: true,
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
    /// How often the sound of each live stream is measured; zero is never.
    pub listen_interval: Time,
}

impl Default for Doctor {
    fn default() -> Doctor {
        Doctor { enabled: true, max_gop: Time::secs(4), listen_interval: Time::secs(10) }
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

/// `[telemetry]`: traces for OpenTelemetry, and metrics of single streams.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where a collector takes OTLP over HTTP; empty is off.
    pub endpoint: String,
    /// One part of so many is followed.
    pub sample: u64,
    /// Streams at most that have series of their own in `/metrics`; 0 is none.
    pub per_stream: usize,
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry { endpoint: String::new(), sample: 100, per_stream: 0 }
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
    /// What the webhook is asked about.
    Asked: "publish or play" {
        /// Who may publish.
        Publish = "publish",
        /// Who may watch.
        Play = "play",
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

fn asked<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Asked>, D::Error> {
    let words = Vec::<String>::deserialize(d)?;
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

/// Proxies that run beside the server. What does not parse here would fail the test of the defaults.
fn this_machine() -> Vec<Network> {
    ["127.0.0.0/8", "::1"].iter().filter_map(|network| network.parse().ok()).collect()
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}
