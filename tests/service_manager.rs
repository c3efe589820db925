//! What a service manager hears of the server (sd_notify): that it is ready, that it lives, how it does, that it goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::process::Process;
use support::server::{PATIENCE, command};
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn listening(at: &Path) -> Manager {
        Manager(UnixDatagram::bind(at).unwrap())
    }

    /// The next word that has this in it.
    async fn hears(&self, wanted: &str) -> String {
        let listen = async {
            let mut word = [0; 1_024];
            loop {
                let length = self.0.recv(&mut word).await.unwrap();
                let text = String::from_utf8_lossy(word.get(..length).unwrap()).into_owned();
                if text.contains(wanted) {
                    return text;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listen).await.unwrap_or_else(|_| panic!("nobody says {wanted}"))
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_the_start_the_life_and_the_end() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::listening(&socket);
    let mut command = command(&folder);
    command.args(["--http-listen", "127.0.0.1:0", "--rtmp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--webrtc-listen", "127.0.0.1:0", "--server-drain", "7s"]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    let mut process = Process::start("headwater", command);
    manager.hears("READY=1").await;
    let said = |line: &str| line.contains("admin listening").then_some(());
    assert!(
        process.line(Duration::from_secs(1), said).await.is_some(),
        "it is ready when it listens: {}",
        process.output()
    );
    for _ in 0..3 {
        assert_eq!(manager.hears("WATCHDOG=1").await.lines().last(), Some("STATUS=0 streams, 0 viewers"));
    }
    process.signal("TERM").await;
    let farewell = manager.hears("STOPPING=1").await;
    assert!(farewell.contains("EXTEND_TIMEOUT_USEC=17000000"), "{farewell}");
    assert!(process.exit(Duration::from_secs(10)).await.success());
}
