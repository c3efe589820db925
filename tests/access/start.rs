//! What the first start makes, what later ones find, and what is said of files that are damaged. The real binary.

use super::support::process::Process;
use super::support::server::{PATIENCE, command};
use tempfile::TempDir;

/// Starts on free ports with files in `data`; the last start-up line has come, or the process has ended.
async fn start(data: &TempDir, flags: &[&str]) -> Process {
    let mut command = command(data);
    for listener in ["http", "rtmp", "admin", "webrtc"] {
        command.args([&format!("--{listener}-listen"), "127.0.0.1:0"]);
    }
    command.args(flags);
    let process = Process::start("headwater", command);
    process.line(PATIENCE, |line| line.contains("there are no keys").then_some(())).await;
    process
}

#[tokio::test]
async fn the_admin_token_is_printed_at_the_first_start_alone() {
    let data = TempDir::new().unwrap();
    let first = start(&data, &[]).await;
    let kept = std::fs::read_to_string(data.path().join("data/admin-token")).unwrap();
    let printed = |process: &Process| process.output().matches(kept.trim()).count();
    assert_eq!(printed(&first), 1, "{}", first.output());
    drop(first);
    let second = start(&data, &[]).await;
    assert_eq!((printed(&second), second.output().contains("admin token")), (0, false), "{}", second.output());
    drop(second);
    let other = TempDir::new().unwrap();
    let configured = start(&other, &["--admin-token", "operators of this one"]).await;
    assert!(!configured.output().contains("operators of this one"), "{}", configured.output());
    assert!(!other.path().join("data/admin-token").exists());
}

#[tokio::test]
async fn damaged_files_keep_the_server_from_starting_and_say_what_to_do() {
    let data = TempDir::new().unwrap();
    let folder = data.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    for (file, content, remedy) in
        [("keys.json", "{\"version\": 1, \"keys\": [", "put a backup in its place"), ("admin-token", "", "delete it")]
    {
        std::fs::write(folder.join(file), content).unwrap();
        let mut process = start(&data, &[]).await;
        assert_eq!(process.exit(PATIENCE).await.code(), Some(2), "{}", process.output());
        let said = process.output();
        assert!(said.contains(file) && said.contains(remedy), "{said}");
        std::fs::remove_file(folder.join(file)).unwrap();
    }
}
