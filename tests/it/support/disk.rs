//! A disk that is full, cannot flush, or is slow, as a program sees it: its calls of the system
//! are answered by `disk.c` where they are about files in one folder. Linux only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::browser::skip;

static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Works,
    /// Nothing can be written.
    Full,
    /// What was written cannot be flushed.
    FailsToFlush,
    /// A flush takes 200 ms.
    Slow,
}

/// The disk under a folder.
pub struct Disk {
    library: &'static Path,
    folder: PathBuf,
    beside: tempfile::TempDir,
}

fn library() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/disk.c");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk.so");
    // Another run of the tests may be loading it at this moment.
    let fresh = built.with_extension(std::process::id().to_string());
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&fresh, &source])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        return None;
    }
    fs::rename(fresh, &built).unwrap();
    Some(built)
}

impl Disk {
    /// A disk that works under a folder that is there, or a word in the list of skipped tests.
    pub fn under(folder: &Path) -> Option<Self> {
        let library = LIBRARY.get_or_init(library).as_deref();
        let Some(library) = library else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            skip(&test, "needs Linux and a C compiler");
            return None;
        };
        Some(Self {
            library,
            folder: folder.canonicalize().unwrap(),
            beside: tempfile::tempdir().unwrap(),
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.beside.path().join(name)
    }

    /// Lets a program that is about to start see this disk.
    pub fn below(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", self.library)
            .env("DISK_FOLDER", &self.folder)
            .env("DISK_CONTROL", self.file("control"))
            .env("DISK_FAULTS", self.file("faults"));
    }

    /// From the next call on.
    pub fn set(&self, state: State) {
        let letter = match state {
            State::Works => "-",
            State::Full => "f",
            State::FailsToFlush => "e",
            State::Slow => "s",
        };
        fs::write(self.file("next"), letter).unwrap();
        fs::rename(self.file("next"), self.file("control")).unwrap();
    }

    /// How many calls have failed.
    pub fn faults(&self) -> u64 {
        fs::metadata(self.file("faults")).map_or(0, |file| file.len())
    }
}
