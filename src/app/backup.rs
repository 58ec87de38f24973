//! A copy of a data folder, taken while a server works on it.
//!
//! The database first, then the files that it names: they are immutable and were there before
//! their rows, so only a deletion in between can leave one out, and then all is done again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::Error;
use super::folder::{BLOBS, DATABASE};
use crate::engine::document_key;
use crate::store::sqlite;

/// How often it is begun anew because a document was deleted in the middle.
const TRIES: usize = 5;

/// What a backup holds.
#[derive(Debug, Clone, Copy)]
pub struct Backup {
    pub documents: usize,
    /// Of the file.
    pub bytes: u64,
}

/// Writes the folder `data` to the new tar file `file`. Unpacked into an empty folder, it is a
/// data folder again: its jobs go on.
pub fn backup(data: &Path, file: &Path) -> Result<Backup, Error> {
    let failed = |cause| Error::Backup {
        file: file.display().to_string(),
        cause,
    };
    let database = data.join(DATABASE);
    if !database.is_file() {
        let cause = io::Error::other(format!(
            "there is no database in the folder `{}`; name the server's with --data",
            data.display()
        ));
        return Err(failed(cause));
    }
    if file.exists() {
        let cause = io::Error::other("the file is there already; name a new one");
        return Err(failed(cause));
    }
    for _ in 0..TRIES {
        let parts = Parts::beside(file);
        let documents = sqlite::copy(&database, &parts.database).map_err(|cause| Error::Store {
            folder: data.display().to_string(),
            cause,
        })?;
        match pack(data, &parts, &documents) {
            Ok(bytes) => {
                fs::rename(&parts.archive, file).map_err(failed)?;
                return Ok(Backup {
                    documents: documents.len(),
                    bytes,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::Error::other(
        "documents were deleted all the while; try again at a calmer time",
    )))
}

/// What is written before the backup is whole; removed when this is dropped.
struct Parts {
    database: PathBuf,
    archive: PathBuf,
}

impl Parts {
    fn beside(file: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = file.file_name().unwrap_or_default().to_owned();
            name.push(ending);
            let part = file.with_file_name(name);
            // Left by a backup that was killed.
            let _ = fs::remove_file(&part);
            part
        };
        Self {
            database: with(".database"),
            archive: with(".partial"),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for part in [&self.database, &self.archive] {
            let _ = fs::remove_file(part);
        }
    }
}

/// The size of the archive, which is on disk. `NotFound` when a document is gone.
fn pack(data: &Path, parts: &Parts, documents: &[String]) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut archive = Builder::new(BufWriter::new(options.open(&parts.archive)?));
    append(&mut archive, &parts.database, DATABASE)?;
    for sha256 in documents {
        let name = format!("{BLOBS}/{}", document_key(sha256));
        append(&mut archive, &data.join(&name), &name)?;
    }
    let mut written = archive.into_inner()?;
    written.flush()?;
    let written = written
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    written.sync_all()?;
    Ok(written.metadata()?.len())
}

/// Nothing of the file but its bytes: no owner, no times of this machine.
fn append(archive: &mut Builder<BufWriter<File>>, from: &Path, name: &str) -> io::Result<()> {
    let file = File::open(from)?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(file.metadata()?.len());
    archive.append_data(&mut header, name, file)
}
