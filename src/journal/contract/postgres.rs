//! A PostgreSQL to test against: the one that `NIGHTSHIFT_TEST_POSTGRES_URL` names, else a private cluster from the
//! Debian package. Each test gets a database of its own.

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Starts the cluster, says where its socket is, and stops it and removes it when standard input closes: that is when
/// the tests' process is gone, however it went.
const KEEPER: &str = r#"
dir=$(mktemp -d /tmp/nightshift-journal-XXXXXX) || exit 1
trap 'rm -rf "$dir"' EXIT
"$0/initdb" -D "$dir/kept" -A trust -U postgres --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
"$0/postgres" -D "$dir/kept" -k "$dir" -c listen_addresses= >>"$dir/log" 2>&1 </dev/null &
server=$!
tries=0
until "$0/pg_isready" -q -h "$dir"; do
    tries=$((tries + 1))
    [ "$tries" -lt 150 ] && kill -0 "$server" || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
echo "$dir"
cat >/dev/null
kill -INT "$server"
wait "$server"
"#;

struct Cluster {
    url: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// Holds the keeper's standard input open.
    _keeper: Option<Child>,
}

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The URL of an empty database; `None` only where the tests are told to do without.
pub(super) async fn database() -> Option<String> {
    let cluster = match CLUSTER.get_or_init(start) {
        Ok(cluster) => cluster,
        Err(why) if super::hermetic() => {
            eprintln!("skipped as NIGHTSHIFT_TESTS=hermetic wants it: {why}");
            return None;
        }
        Err(why) => panic!(
            "no PostgreSQL to test against ({why}): set NIGHTSHIFT_TEST_POSTGRES_URL, install postgresql, or set NIGHTSHIFT_TESTS=hermetic"
        ),
    };
    let name = format!("journal_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let options: PgConnectOptions = (cluster.url)("postgres").parse().unwrap();
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut conn).await.unwrap();
    Some((cluster.url)(&name))
}

fn start() -> Result<Cluster, String> {
    if let Some(given) = super::setting("NIGHTSHIFT_TEST_POSTGRES_URL") {
        let url = move |name: &str| {
            let (server, query) = given.split_once('?').unwrap_or((&given, ""));
            let authority = server.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            format!("{authority}/{name}?{query}")
        };
        return Ok(Cluster { url: Box::new(url), _keeper: None });
    }
    let programs = newest("/usr/lib/postgresql").ok_or("no /usr/lib/postgresql/*/bin/initdb")?;
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let mut command = if root { Command::new("runuser") } else { Command::new("sh") };
    if root {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.arg("-c").arg(KEEPER).arg(&programs).current_dir("/tmp");
    let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut socket = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut socket).map_err(|error| error.to_string())?;
    let socket = socket.trim().to_owned();
    if socket.is_empty() {
        return Err(format!("the cluster of {} did not start; its log is above", programs.display()));
    }
    let url = move |name: &str| format!("postgres://postgres@localhost/{name}?host={socket}&sslmode=disable");
    Ok(Cluster { url: Box::new(url), _keeper: Some(keeper) })
}

fn newest(versions: &str) -> Option<PathBuf> {
    let found = std::fs::read_dir(versions).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    found.filter(|programs| programs.join("initdb").exists()).max()
}
