//! Clients that others wrote, installed once from their registries into `target/clients`, and the
//! programs that use them.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use tokio::task::JoinHandle;

use super::browser::skip;
use super::proxy::PATIENCE;

/// What a package client says when it reaches no registry; whatever else it says is a failure.
const UNREACHED: &[&str] = &[
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ERR_SOCKET_TIMEOUT",
    "E401",
    "E403",
    "E502",
    "E503",
    "network",
    "Connection to ",
    "Could not connect",
    "Temporary failure in name resolution",
    "Cannot connect to proxy",
    "Read timed out",
    "No matching distribution found",
];

/// What runs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Node,
    Python,
}

/// What a command said until it ended well.
#[derive(Debug)]
pub struct Ran {
    pub out: String,
    pub err: String,
}

/// The interpreter and the folder where the packages and the programs of `tests/clients` are, or
/// a word in the list of skipped tests.
pub fn find(test: &str, runtime: Runtime) -> Option<(PathBuf, PathBuf)> {
    static NODE: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    static PYTHON: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let found = match runtime {
        Runtime::Node => NODE.get_or_init(node),
        Runtime::Python => PYTHON.get_or_init(python),
    };
    found
        .as_ref()
        .inspect_err(|reason| skip(test, reason))
        .ok()
        .cloned()
}

fn node() -> Result<(PathBuf, PathBuf), String> {
    let version = output(Command::new("node").arg("--version"), "Node.js")?;
    let folder = folder("node");
    let stamp = [&version[..], &source("package-lock.json")].concat();
    once(&folder, &stamp, || {
        fs::write(folder.join("package.json"), source("package.json")).unwrap();
        fs::write(
            folder.join("package-lock.json"),
            source("package-lock.json"),
        )
        .unwrap();
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.args(["--fetch-retries=1", "--fetch-timeout=60000"]);
        output(npm.current_dir(&folder), "npm").map(drop)
    })?;
    copy("mjs", &folder);
    Ok(("node".into(), folder))
}

fn python() -> Result<(PathBuf, PathBuf), String> {
    let (python, folder) = venv("python", "requirements.txt")?;
    copy("py", &folder);
    Ok((python, folder))
}

/// The interpreter of a folder with the packages of a list.
pub fn venv(name: &str, list: &str) -> Result<(PathBuf, PathBuf), String> {
    venv_of(Path::new("python3"), name, list)
}

/// The same with an interpreter of Python 3.12 or later.
pub fn modern_venv(name: &str, list: &str) -> Result<(PathBuf, PathBuf), String> {
    venv_of(&modern_python()?, name, list)
}

/// The first interpreter on the path, or among those that pyenv keeps, that is modern enough.
fn modern_python() -> Result<PathBuf, String> {
    let known = ["python3", "python3.14", "python3.13", "python3.12"];
    let mut candidates: Vec<_> = known.into_iter().map(PathBuf::from).collect();
    if let Some(home) = std::env::var_os("HOME") {
        let kept = fs::read_dir(Path::new(&home).join(".pyenv/versions"));
        let kept = kept.into_iter().flatten().flatten();
        let mut kept: Vec<_> = kept.map(|entry| entry.path().join("bin/python3")).collect();
        kept.sort();
        candidates.extend(kept);
    }
    let is_modern = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args([
            "-c",
            "import sys, ensurepip; assert sys.version_info >= (3, 12)",
        ]);
        command.output().is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(is_modern);
    found.ok_or_else(|| "no Python of 3.12 or later".to_owned())
}

/// A program of `tests/clients`, beside the packages that it needs.
pub fn program(name: &str, folder: &Path) -> OsString {
    fs::write(folder.join(name), source(name)).unwrap();
    name.into()
}

fn venv_of(python3: &Path, name: &str, list: &str) -> Result<(PathBuf, PathBuf), String> {
    let version = output(Command::new(python3).arg("--version"), "Python")?;
    let folder = folder(name);
    let python = folder.join("venv/bin/python");
    let stamp = [&version[..], &source(list)].concat();
    once(&folder, &stamp, || {
        let mut venv = Command::new(python3);
        venv.args(["-m", "venv", "--clear", "venv"]);
        output(venv.current_dir(&folder), "venv of Python")?;
        fs::write(folder.join("requirements.txt"), source(list)).unwrap();
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--only-binary=:all:"]);
        pip.args(["--retries=1", "--timeout=60", "-r", "requirements.txt"]);
        output(pip.current_dir(&folder), "pip").map(drop)
    })?;
    Ok((python, folder))
}

fn source(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(name),
    )
    .unwrap()
}

fn folder(runtime: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("../clients")
        .join(runtime);
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Does what is to be done once for the same stamp, also when several processes come at once.
fn once(
    folder: &Path,
    stamp: &[u8],
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = folder.join("done");
    if fs::read(&done).is_ok_and(|done| done == stamp) {
        return Ok(());
    }
    install()?;
    fs::write(done, stamp).unwrap();
    Ok(())
}

/// Programs find packages beside themselves.
fn copy(extension: &str, folder: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    for entry in fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|known| known == extension) {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// What a command says, or why it cannot be had; it fails the test where it should work.
fn output(command: &mut Command, name: &str) -> Result<Vec<u8>, String> {
    let Ok(Output {
        status,
        stdout,
        stderr,
    }) = command.output()
    else {
        return Err(format!("no {name} on the PATH"));
    };
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    let sign = UNREACHED.iter().find(|sign| said.contains(**sign));
    let is_missing = said.contains("ensurepip is not");
    assert!(sign.is_some() || is_missing, "{name}: {said}");
    Err(match sign {
        Some(sign) => format!("{name} does not reach its registry ({sign})"),
        None => format!("no {name}"),
    })
}

/// Whether a command can be had.
pub fn is_there(command: &str) -> bool {
    Command::new(command).arg("--version").output().is_ok()
}

/// A process that does not outlive its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end, which must be a good one. Examples find an API key in their
/// environment.
pub async fn run(command: &Path, arguments: &[OsString], folder: &Path, key: Option<&str>) -> Ran {
    let mut command = Command::new(command);
    command.args(arguments).current_dir(folder);
    // Neither proxies nor keys of whoever runs the tests.
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "RIVULET_KEY",
    ] {
        command.env_remove(name);
    }
    command.envs(key.map(|key| ("RIVULET_KEY", key)));
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let out = reading(running.0.stdout.take().unwrap());
    let err = reading(running.0.stderr.take().unwrap());
    let ended = tokio::time::timeout(PATIENCE, async { tokio::join!(out, err) }).await;
    let Ok((out, err)) = ended else {
        let name = arguments.first();
        drop(running);
        panic!("{name:?} does not end");
    };
    let (out, err) = (out.unwrap(), err.unwrap());
    let status = running.0.wait().unwrap();
    assert!(status.success(), "{arguments:?}: {status}\n{err}\n{out}");
    Ran { out, err }
}

fn reading(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}
