//! The daemon as a process of its own, to be killed at any moment; its folder with settings, rules and journal.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nightshift::journal::sql::Options;
use serde_json::{Value, json};

/// A debug build that shares two cores with other tests needs a while.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Where the process is killed from inside a system call; each thread counts its own.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// The N-th time that a thread of it wants something on the disk for good.
    Sync(u64),
    /// The N-th write into a file at a place: journal, WAL or side file.
    Write(u64),
}

/// A folder with everything one instance has. Removed when dropped.
pub struct Home {
    folder: tempfile::TempDir,
    settings: Value,
    starts: AtomicU32,
}

impl Home {
    /// With these rules, in YAML. The listeners are on free ports of loopback, logs are JSON.
    pub fn new(rules: &str) -> Home {
        let folder = tempfile::Builder::new().prefix("nightshift-recovery-").tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules.yaml"), rules).expect("written");
        let settings = json!({
            "journal": format!("sqlite:{}", folder.path().join("nightshift.db").display()),
            "rules": folder.path().join("rules.yaml"),
            "pause_file": folder.path().join("pause"),
            "listen": {"webhooks": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"},
            // These tests kill on purpose; [`crate::crash_loop`] is about what that comes to.
            "safe_mode": {"unclean_starts": 0},
        });
        Home { folder, settings, starts: AtomicU32::new(0) }
    }

    /// Puts another value at a key of nightshift.yaml.
    pub fn set(mut self, key: &str, value: Value) -> Home {
        self.settings[key] = value;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The SQLite journal.
    pub fn journal(&self) -> PathBuf {
        let named = self.settings["journal"].as_str().and_then(|journal| journal.strip_prefix("sqlite:"));
        PathBuf::from(named.expect("this journal is SQLite's"))
    }

    /// The journal's side file.
    pub fn head_file(&self) -> PathBuf {
        let mut path = self.journal().into_os_string();
        path.push(".head");
        path.into()
    }

    pub fn options(&self) -> Options {
        match self.settings["journal"].as_str() {
            Some(_) => Options::sqlite(&self.journal()),
            None => {
                let file = self.settings["journal"]["postgres"]["url_file"].as_str().expect("a path");
                Options::parse(std::fs::read_to_string(file).expect("a file").trim()).expect("a URL")
            }
        }
    }

    /// The last seq that the side file remembers: it is written after each commit and before anything that the commit
    /// allows.
    pub fn head(&self) -> u64 {
        let text = std::fs::read_to_string(self.head_file()).unwrap_or_default();
        text.get(..20).and_then(|seq| seq.parse().ok()).unwrap_or(0)
    }

    /// Starts the daemon; it may not be ready yet.
    pub fn launch(&self, kill: Option<At>) -> Daemon {
        let config = self.path("nightshift.yaml");
        // JSON is YAML.
        std::fs::write(&config, self.settings.to_string()).expect("written");
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("log-{number}.jsonl"));
        // Whatever ends this thread ends the daemon; not even a kill -9 of the tests leaves one behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(at) = kill {
            let (calls, when) = match at {
                At::Sync(when) => ("fdatasync,fsync", when),
                At::Write(when) => ("pwrite64", when),
            };
            // -D: the tracer stands aside, so that our child is the daemon itself.
            command.args(["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            command.args(["-e", &format!("inject={calls}:signal=KILL:when={when}"), "--"]);
        }
        command.arg(env!("CARGO_BIN_EXE_nightshift")).args(["serve", "--config"]).arg(&config);
        for name in ["KUBECONFIG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let output = File::create(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a log")).stderr(output);
        command.current_dir(self.folder.path());
        let child = command.spawn().unwrap_or_else(|error| panic!("can't start setpriv (util-linux): {error}"));
        Daemon { child, log, webhooks: None, admin: None }
    }

    /// Starts the daemon, and waits until it takes webhooks.
    pub async fn start(&self) -> Daemon {
        let mut daemon = self.launch(None);
        if let Err(end) = daemon.until_ready().await {
            panic!("the daemon ended before it was ready: {end}");
        }
        daemon
    }

    /// Runs `nightshift ARGUMENTS` as a person at this machine would.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightshift"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.output().expect("it runs")
    }

    /// All log lines of one level, of all starts.
    pub fn logged(&self, level: &str) -> Vec<String> {
        let mut found = Vec::new();
        for number in 0..self.starts.load(Ordering::Relaxed) {
            let text = std::fs::read(self.path(&format!("log-{number}.jsonl"))).unwrap_or_default();
            let lines = String::from_utf8_lossy(&text).into_owned();
            let fits = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == level);
            found.extend(lines.lines().filter(fits).map(str::to_owned));
        }
        found
    }
}

pub struct Daemon {
    child: Child,
    log: PathBuf,
    webhooks: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where webhooks go. It must be ready.
    pub fn webhooks(&self) -> SocketAddr {
        self.webhooks.expect("ready")
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("ready")
    }

    /// Waits until it takes webhooks. `Err`: it ended before, with its log's end.
    pub async fn until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.find_ready_line() {
                return Ok(());
            }
            if let Some(status) = self.has_ended() {
                return Err(format!("{status}\n{}", self.said()));
            }
            assert!(Instant::now() < deadline, "not ready within {READY_WITHIN:?}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn find_ready_line(&mut self) -> bool {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let Some(line) = text.lines().find(|line| line.contains("\"nightshift is ready\"")) else { return false };
        let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
        let address = |key: &str| line[key].as_str().and_then(|text| text.parse().ok());
        (self.webhooks, self.admin) = (address("webhooks"), address("admin"));
        self.webhooks.is_some()
    }

    /// How it ended, once it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits until it has ended; `None` when it hasn't within that time.
    pub async fn until_ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.has_ended() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL. False: it had ended by itself before.
    pub fn kill(&mut self) -> bool {
        let _ = self.child.kill();
        let status = self.child.wait().expect("our own child");
        status.signal() == Some(9)
    }

    /// `TERM`, `USR1`, …
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").arg(format!("-{signal}")).arg(&pid).status().expect("kill is in PATH");
        assert!(status.success(), "kill -{signal} {pid}");
    }

    /// Everything it logged.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
