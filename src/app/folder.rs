//! The data folder: who may read it, and the one process that owns it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// A folder that is ours while this lives.
pub struct DataFolder {
    path: PathBuf,
    /// The lock ends with the file, also when the process is killed.
    _lock: File,
}

impl DataFolder {
    /// Creates the folder, for its owner only, unless it is there, and locks it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = || path.display().to_string();
        let failed = |cause| Error::Folder {
            folder: folder(),
            cause,
        };
        create(path).map_err(failed)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                // Later changes of the working directory must not move it.
                path: fs::canonicalize(path).map_err(failed)?,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::FolderInUse { folder: folder() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    pub fn database(&self) -> PathBuf {
        database(&self.path)
    }

    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }
}

/// The database of a data folder.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("rivulet.db")
}

/// Creates the folder, for its owner only, unless it is there.
pub fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let around = tempfile::tempdir().unwrap();
        let path = around.path().join("a/b");
        let first = DataFolder::open(&path).unwrap();
        let error = DataFolder::open(&path).err().unwrap();
        assert!(matches!(error, Error::FolderInUse { .. }));
        assert!(error.to_string().contains("a/b"), "{error}");
        drop(first);
        DataFolder::open(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_look_into_a_new_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let around = tempfile::tempdir().unwrap();
        let path = around.path().join("data");
        let _folder = DataFolder::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("lock"))), (0o700, 0o600));
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let around = tempfile::tempdir().unwrap();
        let path = around.path().join("data");
        fs::write(&path, "").unwrap();
        let error = DataFolder::open(&path).err().unwrap().to_string();
        assert!(error.contains("data` cannot be used"), "{error}");
    }
}
