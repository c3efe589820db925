//! What each module is given of the configuration: one function for each. Used where the server is built, and again where a
//! changed configuration is applied.

use std::sync::Arc;

use crate::access::Network;
use crate::config::{self, Config};
use crate::media::Time;
use crate::{access, acme, doctor, hls, http, hub, rtmp, transcode, webrtc};

pub(super) fn access(config: &Config) -> Result<access::Settings, access::Error> {
    let config::Access { keys, jwt_secret, jwt_keys, jwks_url, jwt_issuer, jwt_audience, .. } = &config.access;
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let key_set = said(jwks_url).map(|url| url.parse().map_err(access::TokenKeyError::Target)).transpose()?;
    Ok(access::Settings {
        data: Some(config.data.dir.clone()),
        keys: keys.clone(),
        tokens: access::TokenSettings {
            secret: jwt_secret.clone(),
            files: jwt_keys.clone(),
            key_set,
            issuer: said(jwt_issuer),
            audience: said(jwt_audience),
        },
        webhook: webhook(&config.access)?,
        policy: access_policy(config),
    })
}

fn webhook(config: &config::Access) -> Result<Option<access::WebhookSettings>, access::Error> {
    if config.webhook_url.is_empty() {
        return Ok(None);
    }
    let action = |asked: &config::Asked| match asked {
        config::Asked::Publish => access::Action::Publish,
        config::Asked::Play => access::Action::Play,
    };
    Ok(Some(access::WebhookSettings {
        target: config.webhook_url.parse().map_err(access::Error::WebhookUrl)?,
        secret: config.webhook_secret.clone(),
        actions: config.webhook_actions.iter().map(action).collect(),
        timeout: config.webhook_timeout.get(),
        cache: config.webhook_cache.get(),
    }))
}

pub(super) fn access_policy(config: &Config) -> access::Policy {
    let config::Config { access, admin, .. } = config;
    let gate = |allow: &[Network], deny: &[Network]| access::Gate { allow: allow.to_vec(), deny: deny.to_vec() };
    access::Policy {
        private: access.private.clone(),
        publishers: gate(&access.publish_allow, &access.publish_deny),
        viewers: gate(&access.play_allow, &access.play_deny),
        operators: gate(&admin.allow, &admin.deny),
        patience: access::Patience { free: access.failed_keys, longest: access.failed_wait.get() },
        sessions: Some(access.sessions_per_address).filter(|most| *most > 0),
        admin_token: admin.token.clone(),
    }
}

/// None where certificates come from files.
pub(super) fn acme(config: &Config) -> Option<acme::Settings> {
    let config::Acme { domains, contact, directory, ca_file, .. } = config.acme.clone();
    let folder = config.data.dir.join("acme");
    (!domains.is_empty()).then_some(acme::Settings { domains, contact, directory, ca_file, folder })
}

pub(super) fn hub(config: &Config) -> hub::Settings {
    hub::Settings {
        takeover: match config.hub.takeover {
            config::Takeover::Newest => hub::Takeover::Newest,
            config::Takeover::Reject => hub::Takeover::Reject,
        },
        reconnect_window: config.hub.reconnect_window.get(),
        media_idle: config.hub.media_idle.get(),
        end_on_unpublish: config.hub.on_unpublish == config::Unpublish::End,
        max_streams: config.hub.max_streams,
        stream_bytes: config.hub.stream_memory.bytes(),
        process_bytes: config.hub.memory.bytes(),
        segment_target: config.hls.segment_target.get(),
        segment_max: config.hls.segment_max.get(),
        ladders: config.transcode.makes_ladders(),
    }
}

pub(super) fn hls(config: &config::Hls) -> hls::Settings {
    hls::Settings {
        part_target: config.part_target.get(),
        hold_back_parts: config.hold_back_parts,
        window: config.window.get(),
        linger: config.linger.get(),
        start_timeout: config.start_timeout.get(),
    }
}

pub(super) fn transcode(config: &Config, program: &transcode::Program) -> transcode::Settings {
    let options = &config.transcode;
    let chosen = options.clone();
    transcode::Settings {
        program: program.clone(),
        choose: Arc::new(move |stream| rules(&chosen, stream)),
        ladders: options.makes_ladders(),
        idle: options.idle.get(),
        encoder: Some(options.encoder.to_string()).filter(|name| name != "auto"),
        preset: options.preset.to_string(),
        sound_bitrate: options.audio_bitrate.bits(),
        worker_memory: options.worker_memory.bytes() as u64,
        nice: i32::from(options.nice),
        max_ladders: options.max_ladders,
        log_bytes: config.hub.stream_memory.bytes(),
        stills: Some(options.thumbnails.get()).filter(|interval| !interval.is_zero()),
        still_width: options.thumbnail_width,
        // Nobody else wants to know.
        listen: Some(config.doctor.listen_interval.get())
            .filter(|interval| config.doctor.enabled && !interval.is_zero()),
    }
}

/// The ladder of one stream.
fn rules(options: &config::Transcode, stream: &str) -> transcode::Rules {
    let (mode, rungs) = options.ladder(stream);
    let rule = |rung: &config::RungRule| transcode::Rule {
        height: rung.height,
        frame_rate: rung.frame_rate.map(f64::from),
        bitrate: rung.bitrate.bits(),
    };
    let mode = match mode {
        config::LadderMode::Watched => transcode::Mode::Watched,
        config::LadderMode::Rung => transcode::Mode::Rung,
        config::LadderMode::Always => transcode::Mode::Always,
        config::LadderMode::Off => transcode::Mode::Off,
    };
    transcode::Rules { mode, rungs: rungs.iter().map(rule).collect() }
}

pub(super) fn webrtc(config: &Config) -> webrtc::Settings {
    webrtc::Settings {
        listen: config.webrtc.listen,
        threads: threads(config.server.threads),
        max_sessions: config.webrtc.max_sessions,
        public: config.webrtc.public_addresses.clone(),
        discover: config.webrtc.discover.clone(),
        advertise_local: config.webrtc.advertise_local,
        key_interval: config.webrtc.key_interval.get(),
    }
}

pub(super) fn doctor(config: &Config) -> doctor::Limits {
    let time = |time: config::Time| Time::from_duration(time.get());
    doctor::Limits { gop: time(config.doctor.max_gop), segment_max: time(config.hls.segment_max) }
}

pub(super) fn offers(config: &Config) -> http::Offers {
    // One that cannot be read was refused before.
    let servers = config.webrtc.ice_servers.iter().filter_map(|text| config::ice_server(text).ok());
    let server = |config::IceServer { url, username, credential }| http::IceServer { url, username, credential };
    http::Offers { ice_servers: servers.map(server).collect(), wait: config.webrtc.wait.get() }
}

pub(super) fn rtmp(config: &config::Rtmp) -> rtmp::Settings {
    let defaults = rtmp::Settings::default();
    rtmp::Settings {
        max_connections: config.max_connections,
        start_timeout: config.handshake_timeout.get(),
        limits: rtmp::chunk::Limits { message: config.max_message.bytes(), ..defaults.limits },
        ..defaults
    }
}

pub(super) fn viewers(config: &Config) -> http::Policy {
    http::Policy {
        ids: config.hls.viewer_ids,
        per_stream: config.access.viewers_per_stream,
        per_address: config.access.viewers_per_address,
    }
}

pub(super) fn http(config: &Config) -> http::Settings {
    http::Settings {
        listen: config.http.listen,
        tls_listen: config.http.tls_listen,
        threads: config.server.threads,
        max_connections: config.http.max_connections,
        header_timeout: config.http.header_timeout.get(),
        idle_timeout: config.http.idle_timeout.get(),
        write_timeout: config.http.write_timeout.get(),
        allow_origins: config.http.allow_origins.clone(),
        trusted_proxies: config.http.trusted_proxies.clone(),
        referrers: config.access.referrers.clone(),
        empty_referrer: config.access.empty_referrer,
        ..http::Settings::default()
    }
}

pub(super) fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
