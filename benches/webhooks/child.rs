//! What is measured runs as a process of its own: `nightshift serve`, and for the bare server this very program, started
//! again with a role. So memory is the server's alone, and the load costs both servers the same.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The first argument of a child.
pub const BARE: &str = "serve-bare";
/// What the daemon logs once it takes webhooks; its address follows.
const READY: &str = "nightshift is ready webhooks=";
/// A start that takes longer has failed.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A server, ended when this is dropped.
pub struct Served {
    child: Child,
    pub webhooks: SocketAddr,
    /// From the process's start until it takes webhooks.
    pub ready_after: Duration,
    /// Its own folder, gone with it.
    _folder: tempfile::TempDir,
}

impl Served {
    /// The bare server on an empty database.
    pub fn bare(disk: &Path) -> Served {
        let folder = tempfile::tempdir_in(disk).unwrap();
        let database = folder.path().join("bare.db");
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(BARE).arg(&database).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let webhooks = line.trim().parse().unwrap();
        Served { child, webhooks, ready_after: began.elapsed(), _folder: folder }
    }

    /// nightshift on an empty journal, with these rules and more settings.
    pub fn nightshift(disk: &Path, rules: &str, more: &str) -> Served {
        let folder = tempfile::tempdir_in(disk).unwrap();
        let (config, rules_file) = (folder.path().join("nightshift.yaml"), folder.path().join("rules.yaml"));
        std::fs::write(&rules_file, rules).unwrap();
        let journal = folder.path().join("nightshift.db");
        let text = format!(
            "journal: sqlite:{}\nrules: {}\nlisten: {{webhooks: '127.0.0.1:0', admin: '127.0.0.1:0'}}\n{more}",
            journal.display(),
            rules_file.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = folder.path().join("log");
        let began = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_nightshift"))
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        // Made before it is ready, so that it is ended whatever happens.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut served = Served { child, webhooks: nowhere, ready_after: Duration::ZERO, _folder: folder };
        loop {
            let said = std::fs::read_to_string(&log).unwrap();
            let address = said.split_once(READY).and_then(|(_, after)| after.split_once(' '));
            if let Some(webhooks) = address.and_then(|(address, _)| address.parse().ok()) {
                (served.webhooks, served.ready_after) = (webhooks, began.elapsed());
                return served;
            }
            assert!(began.elapsed() < START_WITHIN, "nightshift did not start: {said}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Resident memory, MiB.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most it ever was, MiB.
    pub fn most_memory(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
