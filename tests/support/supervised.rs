//! A program that lives as long as the test that started it, and no longer.
//!
//! Between us and it stands `supervise`, a script that holds a pipe to us and ends the program when the pipe closes:
//! on drop, at the end of the process (statics are never dropped), and after a kill -9.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A signal that ends a program gently.
#[derive(Clone, Copy)]
pub enum End {
    /// Nothing is worth keeping: at once.
    Kill,
    Terminate,
    /// PostgreSQL's fast shutdown: it doesn't wait for its clients.
    Interrupt,
}

pub struct Supervised {
    name: &'static str,
    supervisor: Child,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Supervised {
    /// Starts `command` (program and arguments); its output goes to `folder/name.log`.
    /// `remove` is deleted once the program has ended.
    pub fn start(name: &'static str, folder: &Path, end: End, remove: Option<&Path>, command: &[String]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let pid_file = folder.join(format!("{name}.pid"));
        let _ = std::fs::remove_file(&pid_file);
        let signal = match end {
            End::Kill => "KILL",
            End::Terminate => "TERM",
            End::Interrupt => "INT",
        };
        let mut supervise = Command::new(repository().join("tests/support/supervise"));
        supervise.arg(signal).arg(&log).arg(&pid_file);
        match remove {
            Some(folder) => supervise.arg(folder),
            None => supervise.arg("-"),
        };
        supervise.args(command).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Tests must not act on somebody's cluster or database, nor be answered through somebody's proxy.
        for name in ["KUBECONFIG", "PGHOST", "PGPORT", "PGUSER", "PGDATA", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy"] {
            supervise.env_remove(name);
        }
        // Ctrl-C on the terminal reaches our group; the program ends by its lifeline instead, after us.
        std::os::unix::process::CommandExt::process_group(&mut supervise, 0);
        let supervisor =
            supervise.spawn().unwrap_or_else(|error| panic!("can't start tests/support/supervise: {error}"));
        Self { name, supervisor, pid_file, log }
    }

    /// The program's own process id.
    pub fn pid(&self) -> u32 {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            if let Ok(text) = std::fs::read_to_string(&self.pid_file) {
                return text.trim().parse().expect("supervise writes a number");
            }
            assert!(Instant::now() < deadline, "{} wasn't started: {}", self.name, self.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Why the program isn't running any more, with the end of its log; `None` while it runs.
    pub fn has_ended(&mut self) -> Option<String> {
        let status = self.supervisor.try_wait().expect("the supervisor is our child")?;
        Some(format!("{} ended ({status}):\n{}", self.name, self.log_tail()))
    }

    /// Freezes the program (SIGSTOP): its sockets stay open and nothing answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends the program as a crash does (SIGKILL), and waits until it is gone.
    pub fn crash(mut self) {
        self.signal("KILL");
        let _ = self.supervisor.wait();
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").arg(format!("-{signal}")).arg(&pid).status().expect("kill is in PATH");
        assert!(status.success(), "kill -{signal} {pid} ({})", self.name);
    }

    /// The last 40 lines of the program's output.
    /// All that it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Where the crate's sources are.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `N` loopback ports that were free a moment ago. All are held until the last is found, so that they differ.
/// Somebody may take one before it is used: starters try again.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    std::array::from_fn(|at| held[at].local_addr().expect("a bound listener").port())
}

/// `a b c` as the owned words that [`Supervised::start`] takes.
pub fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
