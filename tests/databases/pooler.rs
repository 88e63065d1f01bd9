//! A real pgbouncer in front of a bench's server.

use crate::{
    bench::Bench,
    support::supervised::{End, Supervised, free_ports, words},
};
use std::{os::unix::fs::MetadataExt, process::Command, time::Duration};

pub struct Pooler {
    _process: Supervised,
    _folder: tempfile::TempDir,
    port: u16,
    server: u16,
}

impl Pooler {
    pub fn start(bench: &Bench) -> Pooler {
        // sqlx asks for this one itself.
        Pooler::with(bench.server.port(), "extra_float_digits")
    }

    /// It takes what it does not know, and forgets it.
    pub fn that_ignores(self) -> Pooler {
        Pooler::with(self.server, "extra_float_digits,options")
    }

    fn with(server: u16, ignored: &str) -> Pooler {
        let folder = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        let users = folder.path().join("users.txt");
        std::fs::write(&users, "\"app\" \"hunter2\"\n\"watch\" \"hunter2\"\n").unwrap();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\n\
             pool_mode = transaction\nignore_startup_parameters = {ignored}\n",
            users.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = words(["/usr/sbin/pgbouncer", &settings.display().to_string()]);
        // It refuses to run as root.
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            assert!(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap().success());
            let mut all = words(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
            all.extend(command);
            command = all;
        }
        let process = Supervised::start("pgbouncer", folder.path(), End::Kill, None, &command);
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                std::time::Instant::now() < until,
                "no pgbouncer: {}\nhint: run tests/setup once",
                process.log_tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Pooler { _process: process, _folder: folder, port, server }
    }

    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}:hunter2@127.0.0.1:{}/claims?sslmode=disable", self.port)
    }
}
