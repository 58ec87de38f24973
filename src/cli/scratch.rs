//! A data folder for one run.

use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A new name in the folder for temporary files. What is there at the end is removed.
pub struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    /// Names the folder; who uses it creates it.
    pub fn new(purpose: &str) -> Self {
        let name = format!("rivulet-{purpose}-{}", Uuid::new_v4());
        Self {
            path: std::env::temp_dir().join(name),
            is_kept: false,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder where it is.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may never have been created.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
