//! Immutable files by key, in a local folder or a bucket: the engine's `Blobs`.

pub mod bucket;

use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt as _};

use crate::engine::ports::{Answered, Blobs, Pieces, StoreError};

/// Bytes of one part of a file that is written in pieces: buckets take none under 5 MiB.
const PART: usize = 8 << 20;
/// The longest key, bytes.
const MAX_KEY: usize = 200;
/// What the names of half-written files contain; no key does.
const STAGED: char = '#';

/// How old a half-written file is that nobody is writing any more.
const ABANDONED: Duration = Duration::from_hours(1);

/// Files that are whole or not there.
#[derive(Debug)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    /// Set once the disk has failed: nobody knows what it holds of the files that were written
    /// last, so none is taken until a restart.
    broken: OnceLock<StoreError>,
    is_alone: bool,
}

impl Files {
    fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            broken: OnceLock::new(),
            is_alone: false,
        }
    }

    /// One catalog knows of all of these files: what it does not need may be deleted.
    #[must_use]
    pub fn of_one_catalog(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }

    async fn write(
        &self,
        place: &object_store::path::Path,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        if let Some(broken) = self.broken.get() {
            return Err(broken.clone());
        }
        // Written even when it is there: whether the bytes there are whole and flushed takes as
        // long to find out.
        let put = self.store.put(place, bytes.into()).await;
        put.map(drop).map_err(|error| self.failed(error))
    }

    /// Writes a part at a time, beside its place until it is whole.
    async fn write_pieces(
        &self,
        place: &object_store::path::Path,
        mut pieces: Pieces<'_>,
    ) -> Result<(), StoreError> {
        if let Some(broken) = self.broken.get() {
            return Err(broken.clone());
        }
        let (mut part, mut upload) = (BytesMut::new(), None);
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(abort(upload, error).await),
            };
            part.extend_from_slice(&piece);
            if part.len() < PART {
                continue;
            }
            let begun = match upload.take() {
                Some(begun) => Ok(begun),
                None => self.store.put_multipart(place).await,
            };
            let mut begun = begun.map_err(|error| self.failed(error))?;
            let put = begun.put_part(part.split().freeze().into()).await;
            upload = Some(begun);
            if let Err(error) = put {
                return Err(abort(upload, self.failed(error)).await);
            }
        }
        let Some(mut begun) = upload else {
            return self.write(place, part.freeze()).await;
        };
        let put = if part.is_empty() {
            Ok(())
        } else {
            begun.put_part(part.freeze().into()).await
        };
        let ended = match put {
            Ok(()) => begun.complete().await.map(drop),
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(error) => Err(abort(Some(begun), self.failed(error)).await),
        }
    }

    fn failed(&self, error: Error) -> StoreError {
        if io_error(&error).is_some_and(is_disk_failure) {
            let _ = self.broken.set(StoreError::Unavailable(format!(
                "the disk failed ({error}); no file is taken until a restart"
            )));
        }
        error.into()
    }
}

/// Takes back what was written of a file; gives why.
async fn abort(upload: Option<Box<dyn MultipartUpload>>, error: StoreError) -> StoreError {
    if let Some(mut upload) = upload {
        // What stays is swept like what a crash leaves.
        let _ = upload.abort().await;
    }
    error
}

/// Files in a folder: each is written beside its place, flushed and renamed, and the folder is
/// flushed too.
#[derive(Debug)]
pub struct Local;

impl Local {
    /// Opens or creates the folder, for its owner only, and removes what a crash left half-written.
    /// The folder around it must be there. Blocks.
    pub fn open(root: &Path) -> Result<Files, StoreError> {
        let failed = |error: io::Error| {
            StoreError::Failed(format!("cannot open `{}`: {error}", root.display()))
        };
        create(root).map_err(failed)?;
        sweep(root.to_owned(), Duration::ZERO).map_err(failed)?;
        Self::files(root)
    }

    /// The same of a folder that other processes write to at this moment: what they are writing
    /// is left to them.
    fn shared(root: &Path) -> Result<Files, StoreError> {
        let failed = |error: io::Error| {
            StoreError::Failed(format!("cannot open `{}`: {error}", root.display()))
        };
        create(root).map_err(failed)?;
        sweep(root.to_owned(), ABANDONED).map_err(failed)?;
        Self::files(root)
    }

    fn files(root: &Path) -> Result<Files, StoreError> {
        let store = LocalFileSystem::new_with_prefix(root)?.with_fsync(true);
        Ok(Files::of(Arc::new(store)))
    }
}

impl Blobs for Files {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()> {
        let place = place(key);
        async move { self.write(&place?, bytes).await }.boxed()
    }

    fn put_pieces<'a>(&'a self, key: &str, pieces: Pieces<'a>) -> Answered<'a, ()> {
        let place = place(key);
        async move { self.write_pieces(&place?, pieces).await }.boxed()
    }

    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>> {
        let place = place(key);
        async move {
            match self.store.get(&place?).await {
                Ok(found) => Ok(Some(found.bytes().await?)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Answered<'_, Option<Bytes>> {
        let place = place(key);
        async move {
            let place = place?;
            if range.is_empty() {
                return Ok(Some(Bytes::new()));
            }
            let from = range.start;
            match self.store.get_range(&place, range).await {
                Ok(found) => Ok(Some(found)),
                Err(Error::NotFound { .. }) => Ok(None),
                // What begins beyond the end is refused there, and is nothing here.
                Err(error) => match self.store.head(&place).await {
                    Ok(file) if file.size <= from => Ok(Some(Bytes::new())),
                    _ => Err(error.into()),
                },
            }
        }
        .boxed()
    }

    fn delete(&self, key: &str) -> Answered<'_, ()> {
        let place = place(key);
        async move {
            match self.store.delete(&place?).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn own_keys(&self) -> BoxStream<'_, Result<String, StoreError>> {
        if !self.is_alone {
            return futures_util::stream::empty().boxed();
        }
        let files = self.store.list(None);
        files.map(|file| Ok(file?.location.to_string())).boxed()
    }
}

/// Keys become file names, so only plain ones are taken, such as `documents/9f86d0`.
fn place(key: &str) -> Result<object_store::path::Path, StoreError> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
    };
    let is_part = |part: &str| {
        !part.is_empty() && part != "." && !part.contains("..") && part.bytes().all(is_plain)
    };
    if key.len() <= MAX_KEY && key.split('/').all(is_part) {
        return Ok(key.into());
    }
    let shown: String = key.chars().take(80).collect();
    Err(StoreError::Failed(format!(
        "`{shown}` is not a key. A key has at most {MAX_KEY} of the characters a-z, 0-9, `.`, `_` and \
         `-`, in parts divided by `/`, without `..`."
    )))
}

fn create(root: &Path) -> io::Result<()> {
    if !root.is_dir() {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(root)?;
    }
    // Folders must outlive a power cut as well as the files in them.
    match root.canonicalize()?.parent() {
        Some(around) => flush(around),
        None => Ok(()),
    }
}

/// Removes half-written files that are at least so old, and flushes the folders that a crash may have left unflushed.
fn sweep(root: PathBuf, age: Duration) -> io::Result<()> {
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains(STAGED)
                && entry.metadata()?.modified()?.elapsed().unwrap_or_default() >= age
            {
                fs::remove_file(entry.path())?;
            }
        }
        flush(&folder)?;
    }
    Ok(())
}

/// Only Unix opens folders as files; elsewhere the file system is trusted.
#[cfg_attr(not(unix), allow(unused_variables))]
fn flush(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// What the system said, where it is the cause.
fn io_error(error: &Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(said) = error.downcast_ref() {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

/// Whether the disk could not write or flush: `EIO`.
fn is_disk_failure(error: &io::Error) -> bool {
    cfg!(unix) && error.raw_os_error() == Some(5)
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match (io_error(&error).map(io::Error::kind), &error) {
            (Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded), _) => {
                Self::Full(error.to_string())
            }
            (_, Error::Generic { .. }) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
