//! Draws pages in a process of its own, which is ended when it takes too long or too much.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Readers;
use crate::domain::attachment::Limits;
use crate::domain::document::Document;
use crate::domain::error::{Code, Error};
use crate::engine::ports::Reader;

/// The name of the command that draws, see [`drawing`](super::drawing).
pub const COMMAND: &str = "draw-pages";

/// What drawing one document may cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    time: Duration,
    memory: u64,
}

const COST: Cost = Cost {
    time: Duration::from_mins(2),
    memory: 1 << 30,
};
/// How often the memory of the process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a page of memory, as the system counts them for this figure.
const MEMORY_PAGE: u64 = 4_096;

/// Reads here, and draws with a program that has [`COMMAND`].
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: Option<PathBuf>,
    cost: Cost,
}

impl Sandbox {
    pub fn of(program: PathBuf) -> Self {
        Self {
            program: Some(program),
            cost: COST,
        }
    }

    /// With the program that runs now; without one, where the system does not tell it, nothing
    /// can be drawn.
    pub fn of_this_program() -> Self {
        Self {
            program: std::env::current_exe().ok(),
            cost: COST,
        }
    }
}

impl Reader for Sandbox {
    fn read(&self, bytes: &[u8]) -> Result<Document, Error> {
        Readers.read(bytes)
    }

    fn pictures(&self, pdf: &[u8], limits: &Limits) -> Result<Vec<Bytes>, Error> {
        let begun = self
            .program
            .as_deref()
            .and_then(|program| begin(program, limits).ok());
        let Some(mut child) = begun else {
            return Err(Error::new(
                Code::DocumentTooComplex,
                "The pages cannot be made into pictures here: the server could not start the \
                 process that does it. Send the document as `text` or `native`.",
            ));
        };
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let cost = self.cost;
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            if let Some(mut stdin) = stdin {
                // The process may end before it has taken all.
                scope.spawn(move || drop(stdin.write_all(pdf)));
            }
            let watch = scope.spawn(move || watched(child, &ended, cost));
            let read = stdout.map_or(Ok(Vec::new()), |mut from| frames(&mut from, limits));
            drop(done);
            let end = watch.join().unwrap_or(End::Failed);
            match (read, end) {
                (Ok(pictures), End::Whole) => Ok(pictures),
                (Err(Unread::TooLarge), _) => Err(too_large(limits)),
                (_, end) => Err(undrawn(end, cost)),
            }
        })
    }
}

/// How the process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Failed,
    TooLong,
    TooMuch,
}

/// Why the pictures could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Broken,
    /// More of them, or more bytes, than the model takes.
    TooLarge,
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Starts the process. It sees no variable of ours: there are keys among them.
fn begin(program: &Path, limits: &Limits) -> io::Result<Child> {
    Command::new(program)
        .arg(COMMAND)
        .arg(limits.picture_bytes.to_string())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Waits for the end of the process, or ends it. `ended` is closed once nothing more is read.
fn watched(mut child: Child, ended: &Receiver<()>, cost: Cost) -> End {
    let deadline = Instant::now() + cost.time;
    let stopped = loop {
        match ended.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => break None,
        }
        if Instant::now() > deadline {
            break Some(End::TooLong);
        }
        if memory(child.id()).is_some_and(|bytes| bytes > cost.memory) {
            break Some(End::TooMuch);
        }
    };
    if stopped.is_some() || !settles(&mut child) {
        let _ = child.kill();
    }
    let status = child.wait();
    match stopped {
        Some(end) => end,
        None if status.is_ok_and(|status| status.success()) => End::Whole,
        None => End::Failed,
    }
}

/// Whether a process from which nothing more is read ends by itself, in a moment.
fn settles(child: &mut Child) -> bool {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Bytes that a process has in memory, where the system tells.
fn memory(id: u32) -> Option<u64> {
    let told = std::fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    let pages: u64 = told.split(' ').nth(1)?.parse().ok()?;
    Some(pages * MEMORY_PAGE)
}

/// The pictures that the process writes, until it closes its output.
fn frames(from: &mut impl Read, limits: &Limits) -> Result<Vec<Bytes>, Unread> {
    let mut pictures = Vec::new();
    let mut left = limits.request_bytes / 4 * 3;
    loop {
        let mut length = [0; 4];
        // No byte at all is the end; a part of a length is not.
        if from.read(&mut length[..1])? == 0 {
            return Ok(pictures);
        }
        from.read_exact(&mut length[1..])?;
        let length = u64::from(u32::from_be_bytes(length));
        if length > limits.picture_bytes || length > left {
            return Err(Unread::TooLarge);
        }
        if pictures.len() >= limits.pictures as usize {
            return Err(Unread::TooLarge);
        }
        left -= length;
        let mut picture = vec![0; length as usize];
        from.read_exact(&mut picture)?;
        pictures.push(picture.into());
    }
}

fn too_large(limits: &Limits) -> Error {
    Error::new(
        Code::DocumentTooComplex,
        format!(
            "The pictures of the pages are more than the model takes in one request: {} pictures \
             of at most {} bytes, in a request of {} bytes. Split the document into smaller files.",
            limits.pictures, limits.picture_bytes, limits.request_bytes
        ),
    )
}

fn undrawn(end: End, cost: Cost) -> Error {
    let limit = match end {
        End::Whole | End::Failed => {
            return Error::new(
                Code::DocumentCorrupt,
                "A page of the PDF cannot be made into a picture. Open it in a PDF viewer, save \
                 it again and upload the new file, or send it as `text` or `native`.",
            );
        }
        End::TooLong => format!("takes longer than {} seconds", cost.time.as_secs()),
        End::TooMuch => format!("takes more than {} MiB of memory", cost.memory >> 20),
    };
    Error::new(
        Code::DocumentTooComplex,
        format!(
            "To make pictures of the pages {limit}. Split the PDF into smaller files, or send it \
             as `text` or `native`."
        ),
    )
}

#[cfg(test)]
mod tests;
