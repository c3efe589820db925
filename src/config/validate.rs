//! What options may be together: bounds, and what one asks of another. `load` calls it with every value in place. Each
//! finding names the options it is about and is reported where the first of them was set.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use tracing_subscriber::EnvFilter;

use super::error::{Error, Origin};
use super::ladder;
use super::load::Effective;
use super::sections::Config;
use super::units::{Bitrate, Size, Time};
use crate::fetch::Target;

/// All that is wrong with a configuration whose single values are right.
pub(super) fn check(effective: &Effective) -> Vec<Error> {
    let mut findings = Findings { effective, errors: Vec::new() };
    let config = &effective.config;
    bounds(config, &mut findings);
    listeners(config, &mut findings);
    tls(config, &mut findings);
    acme(config, &mut findings);
    web(config, &mut findings);
    others(config, &mut findings);
    watching(config, &mut findings);
    memory(config, &mut findings);
    packaging(config, &mut findings);
    transcoding(config, &mut findings);
    level(config, &mut findings);
    telemetry(config, &mut findings);
    findings.errors
}

struct Findings<'a> {
    effective: &'a Effective,
    errors: Vec<Error>,
}

impl Findings<'_> {
    /// A finding about some options; it stands where the first of them was set that was set at all.
    fn add(&mut self, options: &[&str], problem: String) {
        let set = options.iter().find(|option| *self.effective.origin(option) != Origin::Default);
        let option = set.or(options.first()).copied().unwrap_or_default();
        let origin = self.effective.origin(option).clone();
        self.errors.push(Error { origin, option: Some(option.to_owned()), problem });
    }

    fn at_least<T: PartialOrd + Display>(&mut self, option: &str, value: T, least: T) {
        if value < least {
            self.add(&[option], format!("{value} is too little; write at least {least}"));
        }
    }

    /// Zero switches it off.
    fn at_least_or_off(&mut self, option: &str, value: Time, least: Time) {
        if value > Time::secs(0) && value < least {
            self.add(&[option], format!("{value} is too little; write at least {least}, or 0s to switch it off"));
        }
    }

    fn at_most<T: PartialOrd + Display>(&mut self, option: &str, value: T, most: T) {
        if value > most {
            self.add(&[option], format!("{value} is too much; write at most {most}"));
        }
    }
}

/// Bounds of single options. A wait of zero would close every connection.
fn bounds(config: &Config, findings: &mut Findings<'_>) {
    let Config { http, rtmp, hub, hls, server, .. } = config;
    let waits = [
        ("http.header_timeout", http.header_timeout),
        ("http.write_timeout", http.write_timeout),
        ("http.idle_timeout", http.idle_timeout),
        ("rtmp.handshake_timeout", rtmp.handshake_timeout),
        ("hls.start_timeout", hls.start_timeout),
    ];
    for (option, wait) in waits {
        findings.at_least(option, wait, Time::millis(100));
    }
    findings.at_least("http.max_connections", http.max_connections, 1);
    findings.at_least("rtmp.max_connections", rtmp.max_connections, 1);
    // A key frame must fit; the length field of an RTMP message has 24 bits.
    findings.at_least("rtmp.max_message", rtmp.max_message, Size::kib(64));
    findings.at_most("rtmp.max_message", rtmp.max_message, Size::mib(16));
    findings.at_least("webrtc.max_sessions", config.webrtc.max_sessions, 1);
    findings.at_least("webrtc.key_interval", config.webrtc.key_interval, Time::millis(500));
    findings.at_most("webrtc.wait", config.webrtc.wait, Time::secs(30));
    for server in &config.webrtc.ice_servers {
        if let Err(problem) = super::ice::server(server) {
            findings.add(&["webrtc.ice_servers"], problem);
        }
    }
    findings.at_least("access.failed_keys", config.access.failed_keys, 1);
    findings.at_least("access.failed_wait", config.access.failed_wait, Time::secs(1));
    findings.at_most("access.failed_wait", config.access.failed_wait, Time::secs(3_600));
    findings.at_least("doctor.max_gop", config.doctor.max_gop, Time::secs(1));
    findings.at_least_or_off("doctor.listen_interval", config.doctor.listen_interval, Time::secs(1));
    // Three looks must be a matter of minutes.
    findings.at_most("doctor.listen_interval", config.doctor.listen_interval, Time::secs(60));
    findings.at_least("tls.reload_interval", config.tls.reload_interval, Time::secs(1));
    // Slow sources send one picture a second.
    findings.at_least("hub.media_idle", hub.media_idle, Time::secs(1));
    findings.at_least("hub.max_streams", hub.max_streams, 1);
    findings.at_most("server.threads", server.threads, 1_024);
    if config.data.dir.as_os_str().is_empty() {
        findings.add(&["data.dir"], "no directory is given; write it as ./data".to_owned());
    }
}

/// Two listeners on one address would take each other's connections, or keep the server from starting.
fn listeners(config: &Config, findings: &mut Findings<'_>) {
    let Config { http, admin, rtmp, webrtc, .. } = config;
    let all = [
        ("webrtc.listen", Some(webrtc.listen).filter(|_| webrtc.enabled)),
        ("http.listen", Some(http.listen)),
        ("http.tls_listen", http.tls_listen),
        ("admin.listen", Some(admin.listen)),
        ("rtmp.listen", Some(rtmp.listen)),
        ("rtmp.tls_listen", rtmp.tls_listen),
    ];
    let on: Vec<(&str, SocketAddr)> = all.iter().filter_map(|(name, at)| at.map(|at| (*name, at))).collect();
    for (index, (name, at)) in on.iter().enumerate() {
        for (other, there) in on.iter().skip(index + 1).filter(|(_, there)| collide(*at, *there)) {
            let problem = format!("{name} = {at} and {other} = {there} collide; give one of them another port");
            findings.add(&[name, other], problem);
        }
    }
}

/// Port 0 takes a free one; an unspecified address is on every interface.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (everywhere || a.ip().to_canonical() == b.ip().to_canonical())
}

fn tls(config: &Config, findings: &mut Findings<'_>) {
    let tls = &config.tls;
    let listeners = [("http.tls_listen", config.http.tls_listen), ("rtmp.tls_listen", config.rtmp.tls_listen)];
    let files = [("tls.cert", &tls.cert, "certificate"), ("tls.key", &tls.key, "private key")];
    if tls.cert.is_some() != tls.key.is_some() {
        let problem = "tls.cert and tls.key belong together; set both or none";
        findings.add(&["tls.cert", "tls.key"], problem.to_owned());
    } else if tls.cert.is_none() && config.acme.domains.is_empty() {
        for (option, _) in listeners.iter().filter(|(_, at)| at.is_some()) {
            let problem =
                "TLS needs a certificate; set tls.cert and tls.key to PEM files, or acme.domains, or leave this empty";
            findings.add(&[option], problem.to_owned());
        }
    }
    for (option, path, what) in files {
        let Some(path) = path else { continue };
        if let Err(error) = std::fs::File::open(path) {
            let path = path.display();
            findings.add(
                &[option],
                format!("cannot read {path} ({error}); write the path of the PEM file with the {what}"),
            );
        }
    }
}

fn acme(config: &Config, findings: &mut Findings<'_>) {
    let acme = &config.acme;
    for domain in &acme.domains {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(letter);
        let is_name = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label);
        if !is_name || domain.parse::<IpAddr>().is_ok() {
            let remedy = "write it as \"live.example.org\", without a star";
            findings.add(&["acme.domains"], format!("{domain:?} is no name that a certificate is given for; {remedy}"));
        }
    }
    if let Err(bad) = acme.directory.parse::<Target>() {
        findings.add(&["acme.directory"], bad.to_string());
    }
    if !acme.contact.is_empty() && (!acme.contact.contains('@') || acme.contact.contains([' ', ':'])) {
        findings
            .add(&["acme.contact"], format!("{:?} is no mail address; write it as \"ops@example.org\"", acme.contact));
    }
    if acme.domains.is_empty() {
        return;
    }
    if !acme.accept_terms {
        let problem = "no certificate is got before the authority's terms are agreed to; read them and set acme.accept_terms to true";
        findings.add(&["acme.accept_terms", "acme.domains"], problem.to_owned());
    }
    if config.http.tls_listen.is_none() {
        let problem =
            "the authority looks at port 443: set http.tls_listen, to \"0.0.0.0:443\" or where that port leads";
        findings.add(&["acme.domains"], problem.to_owned());
    }
    if config.tls.cert.is_some() {
        let problem = "a certificate comes from here or from tls.cert; leave one of them empty";
        findings.add(&["acme.domains", "tls.cert"], problem.to_owned());
    }
    if let Some(path) = &acme.ca_file
        && let Err(error) = std::fs::File::open(path)
    {
        findings
            .add(&["acme.ca_file"], format!("cannot read {} ({error}); write the path of a PEM file", path.display()));
    }
}

fn web(config: &Config, findings: &mut Findings<'_>) {
    let url = &config.http.public_url;
    if !url.is_empty() && (!has_host(url) || url.ends_with('/')) {
        let remedy = "write it as https://live.example.org, without a slash at the end";
        findings.add(&["http.public_url"], format!("{url:?} is no address of a web server; {remedy}"));
    }
    for origin in &config.http.allow_origins {
        let bare = origin.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
        if origin != "*" && !(has_host(origin) && bare) {
            let remedy = "write it as \"https://example.org\", without a path, or \"*\" for all";
            findings.add(&["http.allow_origins"], format!("{origin:?} is no origin; {remedy}"));
        }
    }
}

/// Web servers that are asked who may do what.
fn others(config: &Config, findings: &mut Findings<'_>) {
    let access = &config.access;
    for (option, url) in [("access.jwks_url", &access.jwks_url), ("access.webhook_url", &access.webhook_url)] {
        if let Some(bad) = Some(url).filter(|url| !url.is_empty()).and_then(|url| url.parse::<Target>().err()) {
            findings.add(&[option], bad.to_string());
        }
    }
    for path in &access.jwt_keys {
        if let Err(error) = std::fs::File::open(path) {
            let problem =
                format!("cannot read {} ({error}); write the path of a PEM file with a public key", path.display());
            findings.add(&["access.jwt_keys"], problem);
        }
    }
    // A publisher's handshake waits for it, and has 10 s.
    findings.at_least("access.webhook_timeout", access.webhook_timeout, Time::millis(100));
    findings.at_most("access.webhook_timeout", access.webhook_timeout, Time::secs(8));
    findings.at_most("access.webhook_cache", access.webhook_cache, Time::secs(3_600));
}

/// Referrers are hosts, and limits need something to count by.
fn watching(config: &Config, findings: &mut Findings<'_>) {
    let access = &config.access;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    for site in &access.referrers {
        let host = site.strip_prefix("*.").unwrap_or(site);
        if host.is_empty() || host.starts_with('.') || !host.chars().all(allowed) {
            let remedy = "write the host alone, as \"example.org\", or \"*.example.org\" for all hosts below it";
            findings.add(&["access.referrers"], format!("{site:?} is no host of a web site; {remedy}"));
        }
    }
    let limits = [
        ("access.viewers_per_stream", access.viewers_per_stream),
        ("access.viewers_per_address", access.viewers_per_address),
    ];
    for (option, _) in limits.iter().filter(|(_, most)| *most > 0 && !config.hls.viewer_ids) {
        let problem = "viewers of HLS are counted by their ids; set hls.viewer_ids = true, or this to 0";
        findings.add(&[option, "hls.viewer_ids"], problem.to_owned());
    }
}

/// Whether a text is `http://` or `https://` and something that can be a host.
fn has_host(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '?' | '#' | '@');
    host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', ':']) && !host.contains(forbidden))
}

fn memory(config: &Config, findings: &mut Findings<'_>) {
    let hub = &config.hub;
    // Less does not hold one group of pictures of an ordinary stream.
    findings.at_least("hub.stream_memory", hub.stream_memory, Size::mib(1));
    if hub.memory < hub.stream_memory {
        let (all, one) = (hub.memory, hub.stream_memory);
        let problem = format!("hub.memory = {all} is less than hub.stream_memory = {one}; write at least {one}");
        findings.add(&["hub.memory", "hub.stream_memory"], problem);
    }
}

/// What keeps playlists valid and low in latency.
fn packaging(config: &Config, findings: &mut Findings<'_>) {
    let hls = &config.hls;
    let (part, target, max) = (hls.part_target, hls.segment_target, hls.segment_max);
    findings.at_least("hls.part_target", part, Time::millis(100));
    findings.at_most("hls.part_target", part, Time::secs(2));
    // RFC 8216bis, section 4.4.3.8: PART-HOLD-BACK is at least twice PART-TARGET and should be three times that.
    findings.at_least("hls.hold_back_parts", hls.hold_back_parts, 3);
    findings.at_most("hls.hold_back_parts", hls.hold_back_parts, 100);
    if part >= target {
        let problem = format!("hls.part_target = {part} must be less than hls.segment_target = {target}");
        findings.add(&["hls.part_target", "hls.segment_target"], problem);
    }
    if target > max {
        let problem = format!("hls.segment_target = {target} must not be more than hls.segment_max = {max}");
        findings.add(&["hls.segment_target", "hls.segment_max"], problem);
    }
    findings.at_most("hls.segment_max", max, Time::secs(60));
    // RFC 8216bis, section 6.2.2: a live playlist has at least three target durations of segments.
    if hls.window.get() < target.get() * 3 {
        let (window, least) = (hls.window, Time::from(target.get() * 3));
        let problem = format!(
            "hls.window = {window} is less than three times hls.segment_target = {target}; write at least {least}"
        );
        findings.add(&["hls.window", "hls.segment_target"], problem);
    }
}

/// What workers can make, and what a machine with few cores survives.
fn transcoding(config: &Config, findings: &mut Findings<'_>) {
    let transcode = &config.transcode;
    if let Err(problem) = ladder::check(&transcode.rungs) {
        findings.add(&["transcode.rungs"], problem);
    }
    // A player that changes its mind would start and stop a rung with every segment.
    findings.at_least("transcode.idle", transcode.idle, Time::secs(1));
    findings.at_least("transcode.audio_bitrate", transcode.audio_bitrate, Bitrate::kilobits(32));
    findings.at_most("transcode.audio_bitrate", transcode.audio_bitrate, Bitrate::kilobits(512));
    // Less does not hold the decoder and one encoder of an ordinary stream.
    findings.at_least("transcode.worker_memory", transcode.worker_memory, Size::mib(128));
    findings.at_most("transcode.nice", transcode.nice, 19);
    findings.at_least("transcode.max_ladders", transcode.max_ladders, 1);
    findings.at_least_or_off("transcode.thumbnails", transcode.thumbnails, Time::secs(1));
    findings.at_least("transcode.thumbnail_width", transcode.thumbnail_width, 64);
    findings.at_most("transcode.thumbnail_width", transcode.thumbnail_width, 1_920);
}

fn telemetry(config: &Config, findings: &mut Findings<'_>) {
    let endpoint = &config.telemetry.endpoint;
    if !endpoint.is_empty() && !crate::traces::is_endpoint(endpoint) {
        let remedy = "write it as http://127.0.0.1:4318, without TLS, or leave it empty to switch it off";
        findings.add(&["telemetry.endpoint"], format!("{endpoint:?} is no address of a collector; {remedy}"));
    }
    findings.at_least("telemetry.sample", config.telemetry.sample, 1);
    findings.at_most("telemetry.per_stream", config.telemetry.per_stream, 1_000);
}

/// A misspelt level would pass for the name of a module and silence the log.
fn level(config: &Config, findings: &mut Findings<'_>) {
    for directive in config.log.level.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let remedy = "write error, warn, info, debug, trace or off, or MODULE=LEVEL";
            findings.add(&["log.level"], format!("{level:?} is no level; {remedy}"));
        } else if EnvFilter::try_new(directive).is_err() {
            findings.add(&["log.level"], format!("{directive:?} is no filter; write it as headwater::rtmp={level}"));
        }
    }
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
