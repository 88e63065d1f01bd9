//! What is measured runs as a process of its own: this very program, started again with a role. So memory is the
//! server's alone, and the load costs both servers the same.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The first argument of a child.
pub const BARE: &str = "serve-bare";
pub const NIGHTSHIFT: &str = "serve-nightshift";

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
        Served::start(BARE, &database, folder)
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
        Served::start(NIGHTSHIFT, &config, folder)
    }

    fn start(role: &str, argument: &PathBuf, folder: tempfile::TempDir) -> Served {
        let log = folder.path().join("log");
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(role)
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready_after = began.elapsed();
        let Ok(webhooks) = line.trim().parse() else {
            let mut said = String::new();
            File::open(&log).unwrap().read_to_string(&mut said).unwrap();
            panic!("{role} did not start: {said}");
        };
        Served { child, webhooks, ready_after, _folder: folder }
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
