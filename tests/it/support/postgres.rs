//! A PostgreSQL server of our own, and a database in it for each test.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use super::browser::skip;

/// Prepares a cluster, starts it, says so, and stops it when its input ends: when the tests end,
/// however they do. Nothing outlives them, so nothing needs to reach the disk.
const SCRIPT: &str = r#"
initdb -D "$1/data" -U rivulet --auth=trust -E UTF8 --locale=C.UTF-8 --no-sync >"$1/log" 2>&1 || exit 1
pg_ctl -w -D "$1/data" -l "$1/log" -o "-F -p $2 -k $1 -c listen_addresses=127.0.0.1 \
    -c max_connections=300 -c full_page_writes=off -c synchronous_commit=off $3" start >/dev/null || exit 1
echo ready
cat >/dev/null
pg_ctl -m immediate -D "$1/data" stop >/dev/null 2>&1
rm -rf "$1"
"#;

struct Server {
    port: u16,
    _life: ChildStdin,
    _child: Child,
}

static SERVER: OnceLock<Option<Server>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The folder of PostgreSQL's programs: on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.map(|version| version.unwrap().path().join("bin"));
    let folders = std::env::split_paths(&path).chain(debian);
    let has_all = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    folders.into_iter().find(has_all)
}

/// PostgreSQL refuses to run as root.
#[cfg(unix)]
fn as_somebody(command: &mut Command, folder: &Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if fs::metadata(folder).unwrap().uid() == 0 {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
}

#[cfg(not(unix))]
fn as_somebody(_: &mut Command, _: &Path) {}

fn start() -> Option<Server> {
    let programs = programs()?;
    let folder = tempfile::tempdir().unwrap().keep();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "sh"])
        .arg(&folder)
        .arg(port.to_string())
        .arg(std::env::var("RIVULET_TEST_POSTGRES").unwrap_or_default())
        .env("PATH", format!("{}:{path}", programs.display()))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    as_somebody(&mut command, &folder);
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(said, "ready\n", "PostgreSQL did not start: {}", log());
    Some(Server {
        port,
        _life: child.stdin.take().unwrap(),
        _child: child,
    })
}

/// An empty database, or a word in the list of skipped tests.
pub async fn database() -> Option<Database> {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start).as_ref());
    let Some(server) = server.await.unwrap() else {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        skip(&test, "PostgreSQL is not installed");
        return None;
    };
    let database = Database {
        port: server.port,
        name: format!("test_{}", NEXT.fetch_add(1, Ordering::SeqCst)),
    };
    let create = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
    run(&database.url_of("postgres"), &create).await;
    Some(database)
}

async fn run(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driven = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    driven.abort();
}

/// A database that goes with the server.
#[derive(Clone)]
pub struct Database {
    pub port: u16,
    name: String,
}

impl Database {
    fn url_of(&self, name: &str) -> String {
        self.url_at(self.port, name)
    }

    fn url_at(&self, port: u16, name: &str) -> String {
        format!("postgres://rivulet@127.0.0.1:{port}/{name}")
    }

    pub fn url(&self) -> String {
        self.url_of(&self.name)
    }

    /// The same database through another port.
    pub fn through(&self, port: u16) -> String {
        self.url_at(port, &self.name)
    }

    /// Runs statements as somebody else.
    pub async fn run(&self, sql: &str) {
        run(&self.url(), sql).await;
    }
}
