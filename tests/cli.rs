//! The program from outside: what `headwater` prints and ends with for each kind of arguments, environment and file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The program in a folder of its own, without anybody's environment.
fn headwater(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.current_dir(folder.path()).env_clear();
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A folder with a configuration file.
fn folder_with(path: &str, text: &str) -> TempDir {
    let folder = folder();
    let path = folder.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    folder
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().expect("ended by a signal"), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What a check prints that finds nothing wrong.
fn good(command: &mut Command) -> String {
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("configuration ok ("), "{stdout}");
    stdout
}

/// The lines of a check, or a start, that finds something wrong.
fn bad(command: &mut Command) -> Vec<String> {
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    stderr.lines().map(str::to_owned).collect()
}

#[test]
fn without_a_file_the_defaults_are_checked() {
    let folder = folder();
    let stdout = good(headwater(&folder).arg("check"));
    assert!(stdout.starts_with("configuration ok (no file read)\n"), "{stdout}");
    assert!(stdout.contains("\n[rtmp]\nlisten = \"0.0.0.0:1935\"\n"), "{stdout}");
    assert!(!stdout.contains('#'), "no default has an origin: {stdout}");
}

#[test]
fn what_differs_from_the_defaults_is_shown_with_when_it_would_hold() {
    let folder = folder_with("h.toml", "[hls]\nwindow = \"60s\"\n[server]\nthreads = 2\n");
    let stdout = good(headwater(&folder).args(["check", "--diff", "--config", "h.toml"]));
    let lines: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "hls.window: 30s -> 60s (for streams that start from now on)",
            "server.threads: 0 -> 2 (after a restart: threads are made when the server starts)",
        ]
    );
}

#[test]
fn the_documented_file_is_checked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/headwater.toml");
    let stdout = good(headwater(&folder()).arg("--config").arg(&path).arg("check"));
    assert!(stdout.starts_with(&format!("configuration ok (file {})\n", path.display())), "{stdout}");
    assert!(!stdout.contains('#'), "{stdout}");
}

#[test]
fn the_file_is_found_in_the_usual_place() {
    let folder = folder_with("config/headwater.toml", "[hub]\nmedia_idle = \"7s\"\n");
    let stdout = good(headwater(&folder).arg("check"));
    assert!(stdout.contains("\nmedia_idle = \"7s\"  # config/headwater.toml:2:14\n"), "{stdout}");
}

#[test]
fn a_file_is_named_by_variable_or_flag() {
    let folder = folder_with("a.toml", "[server]\nthreads = 1\n");
    std::fs::write(folder.path().join("b.toml"), "[server]\nthreads = 2\n").unwrap();
    let stdout = good(headwater(&folder).arg("check").env("HEADWATER_CONFIG", "a.toml"));
    assert!(stdout.contains("\nthreads = 1  # a.toml:2:11\n"), "{stdout}");
    let stdout = good(headwater(&folder).args(["check", "--config", "b.toml"]).env("HEADWATER_CONFIG", "a.toml"));
    assert!(stdout.contains("\nthreads = 2  # b.toml:2:11\n"), "{stdout}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder =
        folder_with("h.toml", "[http]\nheader_timeout = \"1s\"\nwrite_timeout = \"1s\"\nidle_timeout = \"1s\"\n");
    let mut command = headwater(&folder);
    command.env("HEADWATER_HTTP_WRITE_TIMEOUT", "2s").env("HEADWATER_HTTP_IDLE_TIMEOUT", "2s");
    // A flag counts before the command and behind it.
    let stdout = good(command.args(["--config=h.toml", "check", "--http-idle-timeout", "3s"]));
    for line in [
        "header_timeout = \"1s\"  # h.toml:2:18",
        "write_timeout = \"2s\"  # environment HEADWATER_HTTP_WRITE_TIMEOUT",
        "idle_timeout = \"3s\"  # --http-idle-timeout",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is missing in\n{stdout}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let folder = folder_with("h.toml", "[[access.keys]]\nstream = \"show\"\nsecret = \"topsecret\"\n");
    let stdout = good(headwater(&folder).args(["check", "--config", "h.toml"]));
    assert!(stdout.contains("stream = \"show\"") && !stdout.contains("topsecret"), "{stdout}");
}

#[test]
fn ladders_are_printed_and_checked() {
    let folder = folder_with("h.toml", "[[transcode.ladders]]\nstreams = \"show-*\"\nrungs = [\"720p30:3M\"]\n");
    let stdout = good(headwater(&folder).args(["check", "--config", "h.toml", "--transcode-mode", "always"]));
    for line in [
        "mode = \"always\"  # --transcode-mode",
        "rungs = [\"720p:3000k\", \"480p:1400k\", \"360p:800k\"]",
        "ladders = [{ rungs = [\"720p30:3000k\"], streams = \"show-*\" }]  # h.toml:1:1",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is missing in\n{stdout}");
    }
    let expected =
        ["--transcode-rungs: \"av1\" is no codec that rungs are made in; write h264, or leave it out: \"720p:3M\""];
    assert_eq!(bad(headwater(&folder).args(["check", "--transcode-rungs", "[\"720p:3M:av1\"]"])), expected);
}

#[test]
fn a_wrong_file_is_told_by_check_and_by_a_start() {
    let folder = folder_with("h.toml", "[rtmp]\nlisten = \"abc\"\nmax_conections = 5\n");
    let expected = [
        "h.toml:2:10: rtmp.listen: \"abc\" is no address; write it as 0.0.0.0:1935",
        "h.toml:3:1: there is no option rtmp.max_conections; the nearest is rtmp.max_connections",
    ];
    assert_eq!(bad(headwater(&folder).args(["check", "--config", "h.toml"])), expected);
    assert_eq!(bad(headwater(&folder).args(["--config", "h.toml"])), expected);
}

#[test]
fn a_wrong_variable_and_a_wrong_flag_are_told() {
    let folder = folder();
    let mut command = headwater(&folder);
    command
        .env("HEADWATER_RTMP_LISTEN", "1935")
        .env("HEADWATER_RTMP_LISTE", "")
        .args(["check", "--rtmp-max-message=1"]);
    let expected = [
        "environment HEADWATER_RTMP_LISTE: there is no such option; the nearest is HEADWATER_RTMP_LISTEN",
        "environment HEADWATER_RTMP_LISTEN: \"1935\" is no address; write it as 0.0.0.0:1935",
        "--rtmp-max-message: \"1\" is no size; write a whole number and B, KiB, MiB or GiB, such as \"8MiB\"",
    ];
    assert_eq!(bad(&mut command), expected);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = folder_with("latin1.toml", "");
    std::fs::write(folder.path().join("latin1.toml"), b"# \xe9\n").unwrap();
    std::fs::write(folder.path().join("large.toml"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    for (path, said) in [
        (
            "none.toml",
            "none.toml: cannot read it (No such file or directory (os error 2)); check the path and its permissions",
        ),
        (".", ".: cannot read it (Is a directory (os error 21)); check the path and its permissions"),
        ("latin1.toml", "latin1.toml: it is no UTF-8 text; check the path"),
        ("large.toml", "large.toml: it has more than 1 MiB and is hardly a configuration; check the path"),
        ("/dev/zero", "/dev/zero: it has more than 1 MiB and is hardly a configuration; check the path"),
    ] {
        assert_eq!(bad(headwater(&folder).args(["check", "--config", path])), [said]);
    }
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_flag() {
    for arguments in [&["--rtmp-lisen", "x"][..], &["serv"], &["check", "--rtmp-listen"]] {
        let said = bad(headwater(&folder()).args(arguments)).join("\n");
        assert!(said.contains(arguments.last().unwrap()) || said.contains("--rtmp-listen"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let value = std::ffi::OsStr::from_bytes(b"\xff");
    let said = bad(headwater(&folder()).arg("check").env("HEADWATER_DATA_DIR", value));
    assert_eq!(said, ["environment HEADWATER_DATA_DIR: the name or value is no UTF-8 text; write it anew"]);
}

#[test]
fn version_and_help_are_printed() {
    let (code, stdout, _) = run(headwater(&folder()).arg("--version"));
    assert_eq!((code, stdout.trim()), (0, concat!("headwater ", env!("CARGO_PKG_VERSION"))));
    let (code, short, _) = run(headwater(&folder()).arg("-h"));
    assert!(code == 0 && short.contains("check") && !short.contains("--rtmp-listen"), "{short}");
    let (code, long, _) = run(headwater(&folder()).arg("--help"));
    assert_eq!(code, 0);
    for text in ["--rtmp-listen <ADDRESS>", "[default: 0.0.0.0:1935]", "--hls-part-target <TIME>", "Exit codes: 0 "] {
        assert!(long.contains(text), "{text} is missing in\n{long}");
    }
}
