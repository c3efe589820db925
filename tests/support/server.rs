//! The server under test: the real binary on free ports, with a data directory of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use super::http::{Answer, Client};
use super::process::Process;

/// A running Headwater. Killed when dropped; prints its log if the test is failing then.
pub struct Headwater {
    pub process: Process,
    /// `127.0.0.1:PORT` of the edge.
    pub http: String,
    /// `127.0.0.1:PORT` of the admin listener.
    pub admin: String,
    /// `rtmp://127.0.0.1:PORT/live`.
    pub rtmp: String,
    pub client: Client,
    /// Its data directory.
    pub data: TempDir,
}

/// What the admin API of every server under test asks for.
pub const ADMIN_TOKEN: &str = "a-token-for-tests-alone";

/// What start-up, a first segment and shutdown may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl Headwater {
    /// Starts with flags beside the listeners, and waits until it says where it listens.
    pub async fn start(flags: &[&str]) -> Headwater {
        let data = TempDir::new().unwrap();
        // Where a server keeps it that is started in this folder.
        std::fs::create_dir(data.path().join("data")).unwrap();
        std::fs::write(data.path().join("data/admin-token"), ADMIN_TOKEN).unwrap();
        let mut command = command(&data);
        command.args(["--http-listen", "127.0.0.1:0", "--rtmp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--webrtc-listen", "127.0.0.1:0"]);
        command.args(flags);
        let process = Process::start("headwater", command);
        let address = async |what: &str, scheme: &str| {
            let found = process.line(PATIENCE, |line| listening(line, what, scheme)).await;
            found.unwrap_or_else(|| panic!("no line says where {what} listens:\n{}", process.output()))
        };
        let http = address("http", "http://").await;
        let admin = address("admin", "http://").await;
        let rtmp = format!("rtmp://{}/live", address("rtmp", "rtmp://").await);
        let client = Client::new(&http);
        Headwater { process, http, admin, rtmp, client, data }
    }

    /// The folder that it runs in; its data directory is `data` there.
    pub fn folder(&self) -> &Path {
        self.data.path()
    }

    /// GET on the edge; a broken connection fails the test.
    pub async fn get(&self, url: &str) -> Answer {
        self.client.get(url).await.unwrap()
    }

    /// GET on the admin listener, as the operator.
    pub async fn admin(&self, url: &str) -> Answer {
        self.administer("GET", url, "").await
    }

    /// A call of the admin API, as the operator; a body is JSON.
    pub async fn administer(&self, method: &str, url: &str, body: &str) -> Answer {
        let headers =
            [("authorization", format!("Bearer {ADMIN_TOKEN}")), ("content-type", "application/json".to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        Client::new(&self.admin).send(method, url, &headers, body.to_owned().into()).await.unwrap()
    }

    /// The multivariant playlist of a stream, as soon as there is one. The server holds the request until then; where it
    /// answers that there is nothing yet, this asks again as the answer says, or after 20 ms.
    pub async fn index(&self, name: &str) -> Answer {
        self.once(&format!("/live/{name}/index.m3u8"), |answer| answer.status == 200).await
    }

    /// Asks until an answer is as wanted.
    pub async fn once(&self, url: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.get(url).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{url} still answers {}: {}", answer.status, answer.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The paths of the media playlists that a multivariant playlist names, without the id of this viewer.
    pub async fn renditions(&self, name: &str) -> Vec<String> {
        let text = self.index(name).await.text();
        let quoted = text.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let plain = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
        let bare = |uri: &str| uri.split('?').next().unwrap_or_default().to_owned();
        plain.chain(quoted).map(|uri| format!("/live/{name}/{}", bare(uri))).collect()
    }

    /// The value of a metric (the sum over its labels), 0 if it is absent.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(|l| of(l)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// The bare command with a data directory, for tests of starting itself.
pub fn command(data: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    // Shared by all tests, so that each server need not look at every plugin again.
    command.env("GST_REGISTRY", std::env::temp_dir().join("headwater-tests-gstreamer.bin"));
    command.current_dir(data.path());
    command
}

/// `127.0.0.1:PORT` out of `http listening on http://127.0.0.1:PORT`, however the line is dressed.
fn listening(line: &str, what: &str, scheme: &str) -> Option<String> {
    let line: String = strip_colours(line);
    let (before, rest) = line.split_once("listening")?;
    if before.trim_end().rsplit(|c: char| !c.is_ascii_alphanumeric()).next() != Some(what) {
        return None;
    }
    let (_, url) = rest.split_once(scheme)?;
    let end =
        url.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '[' | ']'))).unwrap_or(url.len());
    Some(url[..end].to_owned())
}

fn strip_colours(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, tail)| tail);
    }
    out + rest
}
