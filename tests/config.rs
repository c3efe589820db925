//! The configuration from outside: the documented file equals the defaults, layers win over each other in order, and every
//! mistake is told at its place with a remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use headwater::config::{Config, Effective, File, Input, load};
use proptest::prelude::*;
use toml::{Table, Value};

const DOCUMENTED: &str = include_str!("../config/headwater.toml");

fn with_file(text: &str) -> Input {
    Input { file: Some(File::new("h.toml", text)), ..Input::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(input: &Input) -> Effective {
    load(input).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The lines of the errors that a file gives.
fn wrong(text: &str) -> Vec<String> {
    load(&with_file(text)).expect_err(text).iter().map(ToString::to_string).collect()
}

fn defaults() -> Table {
    Table::try_from(Config::default()).unwrap()
}

/// `section.key`, or `section.key` of a commented array of tables, with the lines above it up to the one before.
fn documented() -> Vec<(String, Vec<&'static str>)> {
    let (mut section, mut above, mut found) = ("", Vec::new(), Vec::new());
    for line in DOCUMENTED.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            above.clear();
        } else if let Some(name) = line.strip_prefix("# [[").and_then(|rest| rest.strip_suffix("]]")) {
            found.push((name.to_owned(), std::mem::take(&mut above)));
        } else if line.starts_with('#') {
            above.push(line);
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.push((format!("{section}.{key}"), std::mem::take(&mut above)));
        } else {
            above.clear();
        }
    }
    found
}

#[test]
fn the_documented_file_is_the_defaults() {
    let read = loaded(&with_file(DOCUMENTED)).config;
    assert_eq!(Table::try_from(&read).unwrap(), defaults());
    // Not only their meaning, but the very text.
    for (section, table) in DOCUMENTED.parse::<Table>().unwrap() {
        for (key, value) in table.as_table().unwrap() {
            assert_eq!(*value, defaults()[&section][key], "{section}.{key}");
        }
    }
}

#[test]
fn every_option_is_documented_with_one_comment() {
    let documented = documented();
    let names: BTreeSet<String> = documented.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), documented.len(), "one option stands twice");
    let options = defaults().into_iter().flat_map(|(section, table)| match table {
        Value::Table(table) => table.into_iter().map(move |(key, _)| format!("{section}.{key}")).collect::<Vec<_>>(),
        other => panic!("{section} = {other}"),
    });
    assert_eq!(names, options.collect());
    for (name, comments) in documented {
        assert_eq!(comments.len(), 1, "{name} has {comments:?}");
        assert!(comments[0].starts_with("# ") && comments[0].ends_with('.'), "{name}: {comments:?}");
    }
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(loaded(&Input::default()).origin("rtmp.listen").to_string(), "built-in default");
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let mut input = with_file("[rtmp]\nlisten = \"127.0.0.1:1\"\nmax_connections = 1\n[hls]\nwindow = \"1h\"\n");
    input.environment = pairs(&[
        ("HEADWATER_RTMP_LISTEN", "127.0.0.1:2"),
        ("HEADWATER_RTMP_MAX_CONNECTIONS", " 2 "),
        ("HEADWATER_CONFIG", "not an option"),
        ("PATH", "/bin"),
    ]);
    input.flags = pairs(&[("rtmp-listen", "127.0.0.1:3")]);
    let effective = loaded(&input);
    let rtmp = &effective.config.rtmp;
    assert_eq!(rtmp.listen.port(), 3);
    assert_eq!(rtmp.max_connections, 2);
    assert_eq!(effective.config.hls.window.to_string(), "1h");
    assert_eq!(rtmp.handshake_timeout, Config::default().rtmp.handshake_timeout);
    let origin = |option| effective.origin(option).to_string();
    assert_eq!(origin("rtmp.listen"), "--rtmp-listen");
    assert_eq!(origin("rtmp.max_connections"), "environment HEADWATER_RTMP_MAX_CONNECTIONS");
    assert_eq!(origin("hls.window"), "h.toml:5:10");
    assert_eq!(origin("rtmp.handshake_timeout"), "built-in default");
}

#[test]
fn every_option_is_a_variable_and_a_flag() {
    for (section, table) in defaults() {
        for (key, value) in table.as_table().unwrap() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let variable = format!("HEADWATER_{section}_{key}").to_uppercase();
            let flag = format!("{section}-{key}").replace('_', "-");
            let environment = pairs(&[(&variable, &text)]);
            loaded(&Input { environment, ..Input::default() });
            let flags = pairs(&[(&flag, &text)]);
            let effective = loaded(&Input { flags, ..Input::default() });
            assert_eq!(effective.origin(&format!("{section}.{key}")).to_string(), format!("--{flag}"));
        }
    }
}

#[test]
fn lists_are_toml_in_variables() {
    let environment = pairs(&[
        ("HEADWATER_HTTP_ALLOW_ORIGINS", "[\"https://a.example\", \"https://b.example:8443\"]"),
        ("HEADWATER_ACCESS_KEYS", "[{ stream = \"show\", secret = \"s3cret\" }, { secret = \"master\" }]"),
    ]);
    let config = loaded(&Input { environment, ..Input::default() }).config;
    assert_eq!(config.http.allow_origins.len(), 2);
    assert_eq!(config.access.keys[0].stream.as_ref().unwrap().as_str(), "show");
    assert!(config.access.keys[1].secret.matches("master") && config.access.keys[1].stream.is_none());
}

#[test]
fn a_wrong_value_is_told_with_line_column_and_remedy() {
    let cases = [
        ("[rtmp]\nlisten = \"abc\"", "h.toml:2:10: rtmp.listen: \"abc\" is no address; write it as 0.0.0.0:1935"),
        (
            "rtmp.listen = \"localhost:1\"",
            "h.toml:1:15: rtmp.listen: \"localhost:1\" is no address; write it as 0.0.0.0:1935",
        ),
        (
            "[rtmp]\ntls_listen = \"1936\"",
            "h.toml:2:14: rtmp.tls_listen: \"1936\" is no address; write it as 0.0.0.0:8443, or leave it empty to switch it off",
        ),
        ("[http]\nidle_timeout = 60", "h.toml:2:16: http.idle_timeout: this is no text in quotes; write it as \"60s\""),
        (
            "[http]\nidle_timeout = \"60\"",
            "h.toml:2:16: http.idle_timeout: \"60\" is no time; write a whole number and ms, s, m or h, such as \"60s\"",
        ),
        (
            "[hub]\nmemory = \"2GB\"",
            "h.toml:2:10: hub.memory: \"2GB\" is no size; write a whole number and B, KiB, MiB or GiB, such as \"2GiB\"",
        ),
        ("[hub]\ntakeover = \"old\"", "h.toml:2:12: hub.takeover: \"old\" is unknown; write it as newest or reject"),
        ("[hub]\non_unpublish = \"\"", "h.toml:2:16: hub.on_unpublish: \"\" is unknown; write it as end or wait"),
        ("[log]\nformat = \"xml\"", "h.toml:2:10: log.format: \"xml\" is unknown; write it as auto, text or json"),
        (
            "[http]\nmax_connections = -1",
            "h.toml:2:19: http.max_connections: the number is out of range; write it as 20000",
        ),
        (
            "[http]\nmax_connections = \"x\"",
            "h.toml:2:19: http.max_connections: \"x\" is no whole number; write it as 20000",
        ),
        (
            "[http]\nmax_connections = 1.5",
            "h.toml:2:19: http.max_connections: this is no whole number; write it as 20000",
        ),
        (
            "[http]\nallow_origins = \"*\"",
            "h.toml:2:17: http.allow_origins: this list is not written as config/headwater.toml shows it; write it in TOML like there",
        ),
    ];
    for (text, said) in cases {
        assert_eq!(wrong(text), [said], "{text}");
    }
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    let cases = [
        ("[rtmp]\nlisen = 1", "h.toml:2:1: there is no option rtmp.lisen; the nearest is rtmp.listen"),
        (
            "[http]\nmaxconnections = 1",
            "h.toml:2:1: there is no option http.maxconnections; the nearest is http.max_connections",
        ),
        ("\n[rtpm]\nlisten = 1", "h.toml:2:2: there is no section [rtpm]; the nearest is [rtmp]"),
        (
            "takeover = 1",
            "h.toml:1:1: takeover stands outside of any section; the nearest option is takeover, below [hub]",
        ),
        ("rtmp = 1", "h.toml:1:1: rtmp is a section; write [rtmp] and its options below"),
        ("[[rtmp]]", "h.toml:1:3: rtmp is a section; write [rtmp] and its options below"),
        ("[[access.key]]\nsecret = \"x\"", "h.toml:1:10: there is no option access.key; the nearest is access.keys"),
    ];
    for (text, said) in cases {
        assert_eq!(wrong(text), [said], "{text}");
    }
    let environment = pairs(&[("HEADWATER_RTMP_LISTN", "x"), ("HEADWATER_CONFIGURATION", "x")]);
    let errors = load(&Input { environment, ..Input::default() }).unwrap_err().to_string();
    assert_eq!(
        errors,
        "environment HEADWATER_RTMP_LISTN: there is no such option; the nearest is HEADWATER_RTMP_LISTEN\n\
         environment HEADWATER_CONFIGURATION: there is no such option; the nearest is HEADWATER_CONFIG"
    );
}

#[test]
fn what_options_ask_of_each_other_is_told_where_it_was_set() {
    let cases = [
        ("[hls]\npart_target = \"50ms\"", "h.toml:2:15: hls.part_target: 50ms is too little; write at least 100ms"),
        ("[hls]\nhold_back_parts = 2", "h.toml:2:19: hls.hold_back_parts: 2 is too little; write at least 3"),
        (
            "[hls]\nsegment_target = \"200ms\"",
            "h.toml:2:18: hls.segment_target: hls.part_target = 256ms must be less than hls.segment_target = 200ms",
        ),
        (
            "[hls]\nsegment_max = \"1s\"",
            "h.toml:2:15: hls.segment_max: hls.segment_target = 2s must not be more than hls.segment_max = 1s",
        ),
        (
            "[hls]\nwindow = \"5s\"",
            "h.toml:2:10: hls.window: hls.window = 5s is less than three times hls.segment_target = 2s; write at least 6s",
        ),
        (
            "[hub]\nmemory = \"32MiB\"",
            "h.toml:2:10: hub.memory: hub.memory = 32MiB is less than hub.stream_memory = 64MiB; write at least 64MiB",
        ),
        (
            "[rtmp]\nlisten = \"127.0.0.1:8080\"",
            "h.toml:2:10: rtmp.listen: http.listen = 0.0.0.0:8080 and rtmp.listen = 127.0.0.1:8080 collide; give one of them another port",
        ),
        (
            "[http]\ntls_listen = \"0.0.0.0:8443\"",
            "h.toml:2:14: http.tls_listen: TLS needs a certificate; set tls.cert and tls.key to PEM files, or acme.domains, or leave this empty",
        ),
        (
            "[acme]\naccept_terms = true\ndomains = [\"live.example.org\"]",
            "h.toml:3:11: acme.domains: the authority looks at port 443: set http.tls_listen, to \"0.0.0.0:443\" or where that port leads",
        ),
        (
            "[acme]\naccept_terms = true\ndomains = [\"*.example.org\"]\n[http]\ntls_listen = \"0.0.0.0:8443\"",
            "h.toml:3:11: acme.domains: \"*.example.org\" is no name that a certificate is given for; write it as \"live.example.org\", without a star",
        ),
        (
            "[acme]\ndomains = [\"live.example.org\"]\n[http]\ntls_listen = \"0.0.0.0:8443\"",
            "h.toml:2:11: acme.domains: no certificate is got before the authority's terms are agreed to; read them and set acme.accept_terms to true",
        ),
        (
            "[acme]\ncontact = \"nobody\"",
            "h.toml:2:11: acme.contact: \"nobody\" is no mail address; write it as \"ops@example.org\"",
        ),
        (
            "[acme]\ndirectory = \"letsencrypt\"",
            "h.toml:2:13: acme.directory: this is no address of a web server; write it as https://example.org/path, without a user",
        ),
        (
            "[http]\npublic_url = \"live.example.org\"",
            "h.toml:2:14: http.public_url: \"live.example.org\" is no address of a web server; write it as https://live.example.org, without a slash at the end",
        ),
        (
            "[http]\nallow_origins = [\"https://a.example/page\"]",
            "h.toml:2:17: http.allow_origins: \"https://a.example/page\" is no origin; write it as \"https://example.org\", without a path, or \"*\" for all",
        ),
        (
            "[log]\nlevel = \"info,headwater::rtmp=loud\"",
            "h.toml:2:9: log.level: \"loud\" is no level; write error, warn, info, debug, trace or off, or MODULE=LEVEL",
        ),
        (
            "[log]\nlevel = \"[=info\"",
            "h.toml:2:9: log.level: \"[=info\" is no filter; write it as headwater::rtmp=info",
        ),
        ("[rtmp]\nmax_message = \"32MiB\"", "h.toml:2:15: rtmp.max_message: 32MiB is too much; write at most 16MiB"),
        ("[http]\nwrite_timeout = \"0s\"", "h.toml:2:17: http.write_timeout: 0s is too little; write at least 100ms"),
        (
            "[telemetry]\nendpoint = \"https://collector\"",
            "h.toml:2:12: telemetry.endpoint: \"https://collector\" is no address of a collector; write it as http://127.0.0.1:4318, without TLS, or leave it empty to switch it off",
        ),
        ("[telemetry]\nsample = 0", "h.toml:2:10: telemetry.sample: 0 is too little; write at least 1"),
        ("[data]\ndir = \"\"", "h.toml:2:7: data.dir: no directory is given; write it as ./data"),
    ];
    for (text, said) in cases {
        assert_eq!(wrong(text), [said], "{text}");
    }
}

#[test]
fn a_wrong_ladder_is_told_with_what_to_write() {
    let rung = "write its height, p, and after a colon its bit rate, as \"720p:3000k\" or \"1080p60:6M\"";
    let rungs = [
        ("720", format!("\"720\" is no rung; {rung}")),
        ("720p", format!("\"720p\" is no rung; {rung}")),
        ("720p:3000", format!("\"720p:3000\" is no rung; {rung}")),
        ("720p-30:3M", format!("\"720p-30:3M\" is no rung; {rung}")),
        ("720p:3M:h264:x", format!("\"720p:3M:h264:x\" is no rung; {rung}")),
        (
            "720p:3M:hevc",
            "\"hevc\" is no codec that rungs are made in; write h264, or leave it out: \"720p:3M\"".to_owned(),
        ),
        ("62p:3M", "62 is no height of a rung; write an even number from 64 to 4320".to_owned()),
        ("721p:3M", "721 is no height of a rung; write an even number from 64 to 4320".to_owned()),
        ("4322p:3M", "4322 is no height of a rung; write an even number from 64 to 4320".to_owned()),
        ("720p0:3M", "0 is no frame rate of a rung; write a whole number from 1 to 240, or leave it out".to_owned()),
        (
            "720p99999999999:3M",
            "99999999999 is no frame rate of a rung; write a whole number from 1 to 240, or leave it out".to_owned(),
        ),
        ("720p:49k", "49k is no bit rate of a rung; write 50k to 100M".to_owned()),
        ("720p:101M", "101M is no bit rate of a rung; write 50k to 100M".to_owned()),
    ];
    for (text, said) in rungs {
        let file = format!("[transcode]\nrungs = [\"1080p:6M\", \"{text}\"]");
        assert_eq!(wrong(&file), [format!("h.toml:2:9: transcode.rungs: {said}")], "{text}");
    }
    let lists = [
        ("\"720p:3M\", \"720p:2M\"", "720p stands twice; give one of them another height or frame rate"),
        ("\"480p:2M\", \"720p30:3M\"", "720p30 stands behind 480p; write the highest rung first"),
        (&"\"720p:3M\", ".repeat(9), "9 rungs are too many; write at most 8"),
    ];
    for (list, said) in lists {
        let file = format!("[transcode]\nrungs = [{list}]");
        assert_eq!(wrong(&file), [format!("h.toml:2:9: transcode.rungs: {said}")], "{list}");
        let file = format!("[[transcode.ladders]]\nstreams = \"*\"\nrungs = [{list}]");
        assert_eq!(wrong(&file), [format!("h.toml:3:9: transcode.ladders: {said}")], "{list}");
    }
}

#[test]
fn wrong_values_of_transcode_are_told() {
    let encoders =
        "auto, x264enc, openh264enc, nvh264enc, vah264enc, vaapih264enc, qsvh264enc, msdkh264enc or v4l2h264enc";
    let cases = [
        ("mode = \"on\"", "8: transcode.mode: \"on\" is unknown; write it as watched, rung, always or off"),
        ("encoder = \"x265enc\"", &format!("11: transcode.encoder: \"x265enc\" is unknown; write it as {encoders}")),
        (
            "preset = \"placebo\"",
            "10: transcode.preset: \"placebo\" is unknown; write it as ultrafast, superfast, veryfast, faster, fast, medium or slow",
        ),
        (
            "audio_bitrate = \"128\"",
            "17: transcode.audio_bitrate: \"128\" is no bit rate; write a whole number and k or M, such as \"128k\" or \"6M\"",
        ),
        ("audio_bitrate = \"31k\"", "17: transcode.audio_bitrate: 31k is too little; write at least 32k"),
        ("audio_bitrate = \"1M\"", "17: transcode.audio_bitrate: 1000k is too much; write at most 512k"),
        ("idle = \"500ms\"", "8: transcode.idle: 500ms is too little; write at least 1s"),
        ("worker_memory = \"64MiB\"", "17: transcode.worker_memory: 64MiB is too little; write at least 128MiB"),
        ("nice = 20", "8: transcode.nice: 20 is too much; write at most 19"),
        ("nice = -1", "8: transcode.nice: the number is out of range; write it as 5"),
        ("max_ladders = 0", "15: transcode.max_ladders: 0 is too little; write at least 1"),
        (
            "thumbnails = \"100ms\"",
            "14: transcode.thumbnails: 100ms is too little; write at least 1s, or 0s to switch it off",
        ),
        ("thumbnail_width = 63", "19: transcode.thumbnail_width: 63 is too little; write at least 64"),
        ("thumbnail_width = 1921", "19: transcode.thumbnail_width: 1921 is too much; write at most 1920"),
    ];
    for (text, said) in cases {
        assert_eq!(wrong(&format!("[transcode]\n{text}")), [format!("h.toml:2:{said}")], "{text}");
    }
}

#[test]
fn how_often_sound_is_measured_has_bounds() {
    for (text, said) in [
        ("\"500ms\"", "doctor.listen_interval: 500ms is too little; write at least 1s, or 0s to switch it off"),
        ("\"61s\"", "doctor.listen_interval: 61s is too much; write at most 60s"),
    ] {
        assert_eq!(wrong(&format!("[doctor]\nlisten_interval = {text}")), [format!("h.toml:2:19: {said}")], "{text}");
    }
    for text in ["0s", "1s", "60s"] {
        loaded(&with_file(&format!("[doctor]\nlisten_interval = \"{text}\"")));
    }
}

#[test]
fn wrong_ladders_are_all_told_at_their_places() {
    let text = "\
[[transcode.ladders]]
streams = \"show *\"
rungs = []
[[transcode.ladders]]
streams = \"a\"
rungs = [\"720p:3M\", \"360p\"]
[[transcode.ladders]]
streams = \"a\"
rungs = []
mode = \"never\"
[[transcode.ladders]]
streams = \"a\"
[[transcode.ladders]]
stream = \"a\"
rungs = []
";
    let expected = [
        "h.toml:2:11: transcode.ladders: \"show *\" is no pattern of stream names; write letters, digits, '-', '_' and '.', and * for any of them: \"show-*\"",
        "h.toml:6:9: transcode.ladders: \"360p\" is no rung; write its height, p, and after a colon its bit rate, as \"720p:3000k\" or \"1080p60:6M\"",
        "h.toml:10:8: transcode.ladders: \"never\" is unknown; write it as watched, rung, always or off",
        "h.toml:11:1: transcode.ladders: missing field `rungs`",
        "h.toml:14:1: transcode.ladders: a table here has a field that is not known; see the example in config/headwater.toml",
    ];
    assert_eq!(wrong(text), expected);
}

#[test]
fn the_first_ladder_that_fits_wins() {
    let text = "\
[transcode]
mode = \"rung\"
[[transcode.ladders]]
streams = \"show-raw\"
rungs = []
mode = \"off\"
[[transcode.ladders]]
streams = \"show-*\"
rungs = [\"1080p60:6M\", \"1080p30:4M:h264\"]
";
    let transcode = loaded(&with_file(text)).config.transcode;
    let ladder = |stream| {
        let (mode, rungs) = transcode.ladder(stream);
        (mode.to_string(), rungs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(ladder("show-raw"), ("off".to_owned(), String::new()));
    assert_eq!(ladder("show-1"), ("rung".to_owned(), "1080p60:6000k 1080p30:4000k".to_owned()));
    assert_eq!(ladder("show"), ("rung".to_owned(), "720p:3000k 480p:1400k 360p:800k".to_owned()));
    // A mode without anything to make is no mistake.
    assert!(loaded(&with_file("[transcode]\nmode = \"always\"\nrungs = []")).config.transcode.rungs.is_empty());
    let environment = pairs(&[
        ("HEADWATER_TRANSCODE_RUNGS", "[\"240p:400k\"]"),
        ("HEADWATER_TRANSCODE_LADDERS", "[{ streams = \"a*\", rungs = [\"480p25:1M\"], mode = \"always\" }]"),
    ]);
    let config = loaded(&Input { environment, ..Input::default() }).config;
    assert_eq!((config.transcode.rungs[0].height, config.transcode.ladders[0].rungs[0].frame_rate), (240, Some(25)));
}

#[test]
fn the_example_of_a_ladder_is_valid() {
    let example = DOCUMENTED.split_once("# [[transcode.ladders]]").unwrap().1;
    let lines = example.lines().map_while(|line| line.strip_prefix("# ").or_else(|| line.is_empty().then_some(line)));
    let lines: Vec<&str> = lines.take(4).collect();
    let transcode = loaded(&with_file(&format!("[[transcode.ladders]]{}", lines.join("\n")))).config.transcode;
    assert_eq!(transcode.ladder("show-1").1.len(), 3);
}

#[test]
fn listeners_on_different_addresses_or_on_port_zero_do_not_collide() {
    for text in [
        "http.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nrtmp.listen = \"127.0.0.1:0\"",
        "http.listen = \"192.0.2.1:80\"\nadmin.listen = \"192.0.2.2:80\"",
    ] {
        loaded(&with_file(text));
    }
    assert_eq!(wrong("http.listen = \"[::]:80\"\nadmin.listen = \"127.0.0.1:80\"").len(), 1);
    assert_eq!(wrong("http.listen = \"[::ffff:127.0.0.1]:80\"\nadmin.listen = \"127.0.0.1:80\"").len(), 1);
}

#[test]
fn certificate_and_key_must_be_there_together() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, "").unwrap();
    let text = |cert: &str, key: &str| {
        format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n[rtmp]\ntls_listen = \"127.0.0.1:1936\"")
    };
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    assert_eq!(
        wrong(&text(cert, "")),
        ["h.toml:2:8: tls.cert: tls.cert and tls.key belong together; set both or none"]
    );
    let said = wrong(&text(cert, key));
    assert!(said.len() == 1 && said[0].starts_with("h.toml:3:7: tls.key: cannot read "), "{said:?}");
    std::fs::write(key, "").unwrap();
    assert!(loaded(&with_file(&text(cert, key))).config.tls.key.is_some());
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let mut input = with_file("[http]\nlisten = \"x\"\nlsten = 1\n[hub]\nmemory = \"1MiB\"\nmax_streams = 0\n");
    input.environment = pairs(&[("HEADWATER_SERVER_THREADS", "all")]);
    input.flags = pairs(&[("server-drain", "soon")]);
    let errors = load(&input).unwrap_err();
    let places: Vec<String> = errors.iter().map(|error| error.origin.to_string()).collect();
    let expected = [
        "h.toml:2:10",
        "h.toml:3:1",
        "h.toml:5:10",
        "h.toml:6:15",
        "environment HEADWATER_SERVER_THREADS",
        "--server-drain",
    ];
    assert_eq!(places, expected, "{errors}");
}

#[test]
fn no_toml_is_told_with_its_place() {
    for (text, place) in
        [("[http\n", "h.toml:1:6: "), ("[http]\nlisten\n", "h.toml:2:"), ("[http]\nx = 1\nx = 2\n", "h.toml:3:1: ")]
    {
        let said = wrong(text);
        assert!(said.iter().any(|line| line.starts_with(place)), "{text}: {said:?}");
    }
    let said = wrong("# ö\n[rtmp]\r\n\"listen\" = 'ö' # ö\r\n");
    assert_eq!(said, ["h.toml:3:12: rtmp.listen: \"ö\" is no address; write it as 0.0.0.0:1935"]);
}

#[test]
fn wrong_keys_are_all_told_and_no_secret_is() {
    let text = "\
[[access.keys]]
stream = \"a/b\"
secret = \"topsecret\"
[[access.keys]]
secret = \"\"
[[access.keys]]
secret = 5318008
[[access.keys]]
secret = \"top secret\"
[[access.keys]]
topsecret = \"show\"
[[access.keys]]
stream = \"show\"
";
    let said = wrong(text);
    let expected = [
        "h.toml:2:10: access.keys: the stream name has '/'; letters, digits, '-', '_' and '.' are allowed",
        "h.toml:5:10: access.keys: the secret is empty; write a long random text",
        "h.toml:7:10: access.keys: the secret is no text; put it in quotes",
        "h.toml:9:10: access.keys: the secret has a space, '?' or '&'; write letters and digits",
        "h.toml:11:1: access.keys: a table here has a field that is not known; see the example in config/headwater.toml",
        "h.toml:12:1: access.keys: missing field `secret`",
    ];
    assert_eq!(said, expected);
    let environment = ["[{secret = \"topsecret}]", "topsecret", "[\"topsecret\"]", "[{secret = [\"topsecret\"]}]"];
    for text in environment {
        let environment = pairs(&[("HEADWATER_ACCESS_KEYS", text)]);
        let said = load(&Input { environment, ..Input::default() }).expect_err(text).to_string();
        assert!(!said.contains("topsecret"), "{said}");
    }
}

#[test]
fn no_print_of_the_configuration_has_a_secret() {
    let effective = loaded(&with_file("[[access.keys]]\nstream = \"show\"\nsecret = \"topsecret\"\n"));
    for text in [effective.show(), format!("{effective:?}"), toml::to_string(&effective.config).unwrap()] {
        assert!(text.contains("show") && text.contains("•••") && !text.contains("topsecret"), "{text}");
    }
}

#[test]
fn the_shown_configuration_is_a_configuration() {
    let ladder = "[[transcode.ladders]]\nstreams = \"show-*\"\nrungs = [\"720p30:3M\"]\nmode = \"always\"\n";
    let shown = loaded(&with_file(&format!("[hls]\nwindow = \"1h\"\n{ladder}"))).show();
    assert!(shown.contains("\nwindow = \"1h\"  # h.toml:2:10\n"), "{shown}");
    assert!(shown.contains("\nrungs = [\"720p:3000k\", \"480p:1400k\", \"360p:800k\"]\n"), "{shown}");
    let again = loaded(&with_file(&shown)).config;
    assert_eq!(again.hls.window.to_string(), "1h");
    assert_eq!(again.transcode.ladder("show-1").1[0].to_string(), "720p30:3000k");
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused_with_a_reason(text in "(\\[[a-z\\[]{0,6}\\]?\n|[a-z_.]{1,9} ?= ?[\"\\[{0-9a-z.]{0,9}\n|\\PC{0,12}\n){0,6}") {
        if let Err(errors) = load(&with_file(&text)) {
            prop_assert!(errors.iter().count() > 0 && !errors.to_string().is_empty());
        }
    }

    #[test]
    fn any_value_of_any_option_is_taken_or_refused(at in 0usize..64, value in "\\PC{0,12}") {
        let options: Vec<String> = defaults().into_iter().flat_map(|(section, table)| {
            table.as_table().unwrap().keys().map(|key| format!("{section}-{key}").replace('_', "-")).collect::<Vec<_>>()
        }).collect();
        let flag = options[at % options.len()].as_str();
        if let Err(errors) = load(&Input { flags: pairs(&[(flag, value.as_str())]), ..Input::default() }) {
            let own = format!("--{flag}: ");
            prop_assert!(errors.to_string().lines().all(|line| line.starts_with(&own)), "{errors}");
        }
    }
}

#[test]
fn wrong_values_of_access_are_told_and_no_secret_is() {
    let cases = [
        (
            "[access]\nprivate = [\"a b\"]",
            "h.toml:2:11: access.private: \"a b\" is no pattern of stream names; write letters, digits, '-', '_' and '.', and * for any of them: \"show-*\"",
        ),
        (
            "[access]\npublish_allow = [\"10.0.0.0/40\"]",
            "h.toml:2:17: access.publish_allow: \"10.0.0.0/40\" is no address and no network; write \"203.0.113.7\", \"198.51.100.0/24\" or \"2001:db8::/32\"",
        ),
        ("[access]\nfailed_keys = 0", "h.toml:2:15: access.failed_keys: 0 is too little; write at least 1"),
        ("[access]\nfailed_wait = \"2h\"", "h.toml:2:15: access.failed_wait: 2h is too much; write at most 1h"),
        (
            "[access]\nwebhook_url = \"https://user:topsecret@example.org\"",
            "h.toml:2:15: access.webhook_url: this is no address of a web server; write it as https://example.org/path, without a user",
        ),
        (
            "[access]\nwebhook_actions = [\"admin\"]",
            "h.toml:2:19: access.webhook_actions: \"admin\" is unknown; write it as publish or play",
        ),
        (
            "[access]\nwebhook_timeout = \"10s\"",
            "h.toml:2:19: access.webhook_timeout: 10s is too much; write at most 8s",
        ),
        (
            "[access]\njwt_secret = \"topsecret\"",
            "h.toml:2:14: access.jwt_secret: the secret is short; write at least 16 random letters and digits",
        ),
        ("[admin]\ntoken = 5318008", "h.toml:2:9: admin.token: this is no text in quotes; write it as \"\""),
        (
            "[[access.keys]]\nsecret = \"topsecret\"\ngrant = \"admin\"",
            "h.toml:3:9: access.keys: the grant is none; write \"publish\" or \"play\"",
        ),
    ];
    for (text, said) in cases {
        assert_eq!(wrong(text), [said], "{text}");
    }
    let text = "[admin]\ntoken = \"topsecret-topsecret\"\n[access]\njwt_secret = \"topsecret-topsecret\"\n";
    let effective = loaded(&with_file(text));
    for text in [effective.show(), format!("{effective:?}"), toml::to_string(&effective.config).unwrap()] {
        assert!(text.contains("•••") && !text.contains("topsecret"), "{text}");
    }
}
