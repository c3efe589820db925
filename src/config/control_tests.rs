//! The configuration of a running server, changed by its file and by the API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::sync::mpsc;

use tempfile::TempDir;

use super::*;

/// A folder with a file, and a server's view of it.
struct House {
    folder: TempDir,
    control: Control,
    applied: mpsc::Receiver<Config>,
}

impl House {
    fn new(text: &str, environment: &[(&str, &str)]) -> House {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("h.toml"), text).unwrap();
        let control = House::open(&folder, environment);
        let (tell, applied) = mpsc::sync_channel(10);
        control.apply_with(Box::new(move |config| tell.send(config.clone()).unwrap()));
        House { folder, control, applied }
    }

    fn open(folder: &TempDir, environment: &[(&str, &str)]) -> Control {
        let path = |name: &str| folder.path().join(name).into_os_string();
        let arguments =
            ["headwater".into(), "--config".into(), path("h.toml"), "--data-dir".into(), path("")].map(OsString::from);
        let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Control::load(Invocation::parse(arguments, environment).unwrap(), Events::new()).unwrap()
    }

    fn write(&self, text: &str) -> Reloaded {
        std::fs::write(self.folder.path().join("h.toml"), text).unwrap();
        self.control.reload()
    }

    fn info(&self, name: &str) -> OptionInfo {
        self.control.effective().into_iter().find(|info| info.name == name).unwrap()
    }

    fn overrides(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("overrides.toml")).unwrap_or_default()
    }

    fn last_event(&self) -> (&'static str, serde_json::Value) {
        let event = self.control.events().last(None, 1).pop().unwrap();
        (event.kind, event.data.clone())
    }
}

fn changes(changes: &[(&str, Option<&str>)]) -> Changes {
    changes.iter().map(|(option, value)| ((*option).to_owned(), value.map(str::to_owned))).collect()
}

#[test]
fn a_good_file_is_applied_and_a_bad_one_changes_nothing() {
    let house = House::new("[hls]\nwindow = \"40s\"\n", &[]);
    let Reloaded::Applied(changes) = house.write("[hls]\nwindow = \"50s\"\n[http]\nlisten = \"127.0.0.1:0\"\n") else {
        panic!("not applied")
    };
    assert_eq!(
        changes.iter().map(|change| (change.option, change.live)).collect::<Vec<_>>(),
        [("http.listen", false), ("hls.window", true)]
    );
    assert_eq!(house.applied.recv().unwrap().hls.window.to_string(), "50s");
    let (kind, data) = house.last_event();
    assert_eq!((kind, &data["restart"][0]), ("config.applied", &"http.listen".into()));
    assert_eq!(house.info("http.listen").running.as_deref(), Some("0.0.0.0:8080"));
    assert_eq!(house.info("hls.window").running, None);

    let Reloaded::Refused(errors) = house.write("[hls]\nwindow = \"1s\"\n[log]\nlevel = \"loud\"\n") else {
        panic!("not refused")
    };
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        lines.len() == 2 && lines[0].contains("h.toml:2:10: hls.window") && lines[1].contains("h.toml:4:9"),
        "{lines:?}"
    );
    assert_eq!((house.last_event().0, house.info("hls.window").value.as_str()), ("config.refused", "50s"));
    assert!(house.applied.try_recv().is_err());
    assert!(matches!(
        house.write("# the same\n[http]\nlisten = \"127.0.0.1:0\"\n[hls]\nwindow = \"50s\"\n"),
        Reloaded::Unchanged
    ));
    assert!(house.applied.try_recv().is_err());
}

#[test]
fn what_the_api_sets_is_kept_wins_over_the_file_and_can_be_removed() {
    let house = House::new("[hls]\nwindow = \"40s\"\n", &[]);
    let wanted = changes(&[
        ("hls.window", Some("90s")),
        ("http.allow_origins", Some("[\"https://a.example\"]")),
        ("server.threads", Some("3")),
    ]);
    let checked = house.control.validate(&wanted);
    assert!(checked.ok && checked.diff.len() == 3, "{checked:?}");
    assert!(house.applied.try_recv().is_err() && house.overrides().is_empty(), "a trial changes nothing");

    let applied = house.control.apply(&wanted);
    assert_eq!((applied.applied, applied.restart), (vec!["http.allow_origins", "hls.window"], vec!["server.threads"]));
    assert_eq!(house.applied.recv().unwrap().hls.window.to_string(), "90s");
    let info = house.info("hls.window");
    assert_eq!((info.value.as_str(), info.default.as_str(), info.origin.as_str()), ("90s", "30s", "set by the API"));
    assert_eq!(house.info("server.threads").running.as_deref(), Some("0"));

    // The file still counts where the API set nothing, and a restart finds everything again.
    assert!(matches!(house.write("[hls]\nwindow = \"41s\"\n"), Reloaded::Unchanged));
    assert_eq!(House::open(&house.folder, &[]).configured().config.hls.window.to_string(), "90s");

    let applied = house.control.apply(&changes(&[("hls.window", None), ("server.threads", None)]));
    assert!(applied.checked.ok && applied.applied == ["hls.window"], "{applied:?}");
    assert!(house.info("hls.window").value == "41s" && house.info("hls.window").origin.contains("h.toml:2:10"));
    assert!(!house.overrides().contains("window") && house.overrides().contains("a.example"), "{}", house.overrides());
}

#[test]
fn what_the_api_cannot_set_is_told_and_nothing_is_set() {
    let house = House::new("", &[("HEADWATER_HUB_MAX_STREAMS", "7")]);
    let wanted = changes(&[
        ("hls.windw", Some("90s")),
        ("hls.window", Some("1s")),
        ("hls.linger", Some("soon")),
        ("hub.max_streams", Some("8")),
        ("data.dir", Some("/elsewhere")),
        ("access.keys", Some("[]")),
        ("webrtc.ice_servers", Some("[\"turn:ann:•••@turn.example.org:3478\"]")),
        ("server.threads", Some("1\nx = 2")),
        ("log.level", Some("debug")),
    ]);
    let applied = house.control.apply(&wanted);
    let said: BTreeMap<&str, &str> =
        applied.checked.errors.iter().map(|wrong| (wrong.option.as_str(), wrong.problem.as_str())).collect();
    assert_eq!(said["hls.windw"], "there is no such option; the nearest is hls.window");
    assert_eq!(
        said["hub.max_streams"],
        "environment HEADWATER_HUB_MAX_STREAMS sets it and wins over the API; change it there"
    );
    assert!(
        said["hls.linger"].starts_with("\"soon\" is no time") && said["data.dir"].contains("in that directory"),
        "{said:?}"
    );
    assert!(said["access.keys"].contains("kept apart") && said["webrtc.ice_servers"].contains("anew"), "{said:?}");
    assert!(
        said["hls.window"].contains("three times") && said["server.threads"].contains("no whole number"),
        "{said:?}"
    );
    assert_eq!(said.len(), 8, "{said:?}");
    assert!(house.overrides().is_empty() && house.applied.try_recv().is_err());
    assert_eq!(house.info("log.level").value, "info");
}

#[test]
fn secrets_are_dots_wherever_options_are_shown() {
    let text =
        "[[access.keys]]\nsecret = \"s3cret\"\n[webrtc]\nice_servers = [\"turn:ann:s3cret@turn.example.org:3478\"]\n";
    let house = House::new(text, &[]);
    let shown = serde_json::to_string(&house.control.effective()).unwrap() + &house.control.configured().show();
    assert!(!shown.contains("s3cret") && shown.contains("turn:ann:•••@"), "{shown}");
    house.write(&text.replace("s3cret", "other"));
    let told = house.last_event().1.to_string();
    assert!(told.contains("access.keys") && told.contains("webrtc.ice_servers"), "{told}");
    assert!(!told.contains("s3cret") && !told.contains("other"), "{told}");
}
