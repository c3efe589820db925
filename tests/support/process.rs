//! A child process with its output kept line by line: to wait for a line, and to show it when a test fails.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Lines that are kept of one process.
const KEPT: usize = 20_000;

/// A running child. Killed when dropped; its output is printed if the test is failing then.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    news: watch::Receiver<usize>,
}

impl Process {
    /// Starts a command and reads both of its outputs.
    pub fn start(name: &str, mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, news) = watch::channel(0);
        let tell = Arc::new(tell);
        tokio::spawn(read(child.stdout.take().unwrap(), Arc::clone(&lines), Arc::clone(&tell)));
        tokio::spawn(read(child.stderr.take().unwrap(), Arc::clone(&lines), tell));
        Process { name: name.to_owned(), child, lines, news }
    }

    /// The first line that `wanted` takes, waiting for it at most `bound`. None when the process ends or time is up.
    pub async fn line<T>(&self, bound: Duration, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.line_at(bound, wanted).await.map(|(_, found)| found)
    }

    /// The same, with the time at which the line came.
    pub async fn line_at<T>(&self, bound: Duration, wanted: impl Fn(&str) -> Option<T>) -> Option<(Instant, T)> {
        let mut news = self.news.clone();
        let mut next = 0;
        let search = async {
            loop {
                news.borrow_and_update();
                {
                    let lines = self.lines.lock().unwrap();
                    for (at, line) in &lines[next..] {
                        if let Some(found) = wanted(line) {
                            return Some((*at, found));
                        }
                    }
                    next = lines.len();
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(bound, search).await.ok().flatten()
    }

    /// Everything it wrote.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap().iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`).
    pub async fn signal(&self, name: &str) {
        let Some(id) = self.child.id() else { return };
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await;
        assert!(sent.is_ok_and(|s| s.success()), "kill -{name} {id} of {}", self.name);
    }

    /// Kills it at once, as a pulled cable would, and waits until it is gone.
    pub async fn kill(&mut self) {
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    /// Waits for its end.
    pub async fn exit(&mut self, bound: Duration) -> ExitStatus {
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => {
                // Its last lines may still be on the way: they are read when both readers are done.
                let mut news = self.news.clone();
                let rest = async { while news.changed().await.is_ok() {} };
                let _ = tokio::time::timeout(bound, rest).await;
                status.unwrap()
            }
            Err(_) => panic!("{} still runs after {bound:?}", self.name),
        }
    }

    /// True while it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory in KiB, from /proc.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time that it took so far, from /proc.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap())).unwrap();
        // Behind the name in brackets: user and system time are the 12th and 13th, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Processes that it started and that still are, from /proc.
    pub fn children(&self) -> Vec<u32> {
        let own = self.child.id().unwrap().to_string();
        let started = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name in brackets: the state, and who started it.
            stat.rsplit(')').next().unwrap().split_whitespace().nth(1) == Some(own.as_str())
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(started).collect()
    }

    /// Open file descriptors, from /proc.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(12_000);
            let from = (from..output.len()).find(|i| output.is_char_boundary(*i)).unwrap_or(0);
            eprintln!("--- output of {} (its end)\n{}---", self.name, &output[from..]);
        }
    }
}

async fn read(
    stream: impl AsyncRead + Unpin,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    tell: Arc<watch::Sender<usize>>,
) {
    let mut reader = BufReader::new(stream).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        {
            let mut lines = lines.lock().unwrap();
            if lines.len() < KEPT {
                lines.push((Instant::now(), line));
            }
        }
        tell.send_modify(|n| *n += 1);
    }
}
