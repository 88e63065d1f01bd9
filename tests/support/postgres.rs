//! A real PostgreSQL server for tests: a private cluster on loopback, a database for each test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::supervised::{End, Supervised, free_ports, words};

/// A folder with the server's programs, in place of Debian's: for another version.
const OTHER: &str = "NIGHTSHIFT_TEST_POSTGRES_BIN";
const START_TRIES: u32 = 3;
const PG_VARIABLES: [&str; 7] = ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGDATA", "PGSERVICE"];
const READY_WITHIN: Duration = Duration::from_secs(30);

pub struct Postgres {
    process: Supervised,
    programs: PathBuf,
    port: u16,
}

/// Whether commits wait for the disk. Off is for tests of what is stored, not of what survives or how fast it is.
#[derive(Clone, Copy, PartialEq)]
pub enum Fsync {
    On,
    Off,
}

impl Postgres {
    /// The server of this test binary, without fsync; ended with the process.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Result<Postgres, String>> = OnceCell::const_new();
        match SHARED.get_or_init(|| Self::start(Fsync::Off, &[])).await {
            Ok(server) => server,
            Err(reason) => panic!("{}", no_postgres(reason)),
        }
    }

    /// A server for one test, to be paused and crashed at will; ended on drop.
    pub async fn own(fsync: Fsync) -> Self {
        Self::start(fsync, &[]).await.unwrap_or_else(|reason| panic!("{}", no_postgres(&reason)))
    }

    /// The same, without fsync and with settings of its own: `max_connections=10`.
    pub async fn with(settings: &[&str]) -> Self {
        Self::start(Fsync::Off, settings).await.unwrap_or_else(|reason| panic!("{}", no_postgres(&reason)))
    }

    async fn start(fsync: Fsync, settings: &[&str]) -> Result<Self, String> {
        let programs = programs()?;
        let mut last = String::new();
        for _ in 0..START_TRIES {
            match Self::try_start(&programs, fsync, settings).await {
                Ok(server) => return Ok(server),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    async fn try_start(programs: &Path, fsync: Fsync, settings: &[&str]) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("nightshift-postgres-")
            .tempdir()
            .map_err(|error| format!("no temporary folder: {error}"))?
            .keep();
        // PostgreSQL refuses to run as root.
        if is_root() {
            succeeds(Command::new("chown").arg("postgres").arg(&folder))?;
        }
        let cluster = folder.join("cluster").display().to_string();
        let initdb = as_postgres(words([
            &programs.join("initdb").display().to_string(),
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
            &cluster,
        ]));
        let made = tokio::task::spawn_blocking(move || {
            succeeds(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/").stdin(Stdio::null()))
        });
        made.await.map_err(|error| error.to_string())??;
        let [port] = free_ports();
        let durable = if fsync == Fsync::On { "on" } else { "off" };
        let mut command = as_postgres(words([
            &programs.join("postgres").display().to_string(),
            "-D",
            &cluster,
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "max_connections=200",
            "-c",
            &format!("fsync={durable}"),
        ]));
        for setting in settings {
            command.extend(words(["-c", setting]));
        }
        let process = Supervised::start("postgres", &folder, End::Interrupt, Some(&folder), &command);
        let mut server = Self { process, programs: programs.to_owned(), port };
        server.until_ready().await?;
        Ok(server)
    }

    async fn until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        let port = self.port.to_string();
        loop {
            let mut ready = Command::new(self.client("pg_isready"));
            let seen = match succeeds(ready.args(["-q", "-h", "127.0.0.1", "-p", &port])) {
                Ok(_) => return Ok(()),
                Err(seen) => seen,
            };
            if let Some(end) = self.process.has_ended() {
                return Err(end);
            }
            if Instant::now() > deadline {
                return Err(format!("not ready: {seen}\n{}", self.process.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A new, empty database; its URL. `postgres` is a superuser without a password.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Runs SQL with psql; its rows, one a line, columns by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new(self.client("psql"));
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]).arg(self.url(database));
        let output = succeeds(&mut psql).unwrap_or_else(|reason| panic!("{statement}: {reason}"));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The URL of another role, with a password that `trust` does not ask for.
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:hunter2@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// One of PostgreSQL's own programs, with nothing of our environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.client(name));
        for name in PG_VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// A client's program: the system's own where the server came without.
    fn client(&self, name: &str) -> PathBuf {
        let own = self.programs.join(name);
        let system = || installed().map(|folder| folder.join(name));
        if own.is_file() { own } else { system().unwrap_or_else(|| PathBuf::from(name)) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&self) -> &Supervised {
        &self.process
    }
}

/// The programs of the server that is tested.
fn programs() -> Result<PathBuf, String> {
    match std::env::var_os(OTHER).map(PathBuf::from) {
        Some(other) if ["initdb", "postgres"].iter().all(|name| other.join(name).is_file()) => Ok(other),
        Some(other) => Err(format!("{OTHER} is {}, which has no initdb and postgres", other.display())),
        None => installed().ok_or_else(|| "no initdb in PATH, nor under /usr/lib/postgresql".to_owned()),
    }
}

/// The newest installed PostgreSQL's programs. Debian keeps the servers out of PATH.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .max();
    if let Some((_, folder)) = debian {
        return Some(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // A process' own folder there belongs to its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The command as user `postgres`, where we are root. setpriv replaces itself by it, so that the process id is its own.
fn as_postgres(command: Vec<String>) -> Vec<String> {
    if !is_root() {
        return command;
    }
    let mut all = words(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
    all.extend(command);
    all
}

fn succeeds(command: &mut Command) -> Result<Output, String> {
    for name in PG_VARIABLES {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn no_postgres(reason: &str) -> String {
    format!(
        "this test needs PostgreSQL: {reason}\n\
         hint: run tests/setup once; or NIGHTSHIFT_TESTS=hermetic skips every test that needs more than this crate"
    )
}
