//! Files without a row: a crash came between the two, on the way in or on the way out.

use futures_util::StreamExt as _;
use tracing::{info, warn};

use super::catalog::sha256_of;
use super::uploads::upload_of;
use super::{Engine, Inner, stored};
use crate::domain::error::Error;
use crate::domain::id::FileId;

impl Engine {
    /// Deletes the files that no document and no job needs, one at a time, and says how many there
    /// were. What fails is left for the next time.
    pub async fn sweep_files(&self) -> u64 {
        let (inner, mut gone) = (&self.inner, 0);
        let mut keys = inner.blobs.own_keys();
        while let Some(key) = keys.next().await {
            if inner.is_draining() {
                break;
            }
            let swept = match key {
                Ok(key) => inner.sweep_file(&key).await,
                Err(cause) => stored(Err(cause)),
            };
            match swept {
                Ok(is_gone) => gone += u64::from(is_gone),
                Err(cause) => {
                    warn!(%cause, "orphans.left: files that nobody needs could not be deleted");
                    break;
                }
            }
        }
        if gone > 0 {
            info!(files = gone, "orphans.swept");
        }
        gone
    }
}

impl Inner {
    async fn sweep_file(&self, key: &str) -> Result<bool, Error> {
        if let Some(upload) = upload_of(key) {
            return self.sweep_chunk(key, upload).await;
        }
        let Some(sha256) = sha256_of(key) else {
            return Ok(false);
        };
        // Looked at first without keeping uploads waiting, which most files are not worth.
        if stored(self.catalog.is_blob_needed(sha256).await)? {
            return Ok(false);
        }
        // An upload holds its bytes from before its file until after its row: now there is none.
        let _alone = self.blob_gate.write().await;
        let _held = stored(self.catalog.hold_bytes(sha256, true).await)?;
        self.drop_bytes(sha256).await
    }

    /// Goes when its upload is gone: nothing is appended to one that is not there.
    async fn sweep_chunk(&self, key: &str, upload: FileId) -> Result<bool, Error> {
        if stored(self.files.has_upload(upload).await)? {
            return Ok(false);
        }
        stored(self.blobs.delete(key).await)?;
        Ok(true)
    }
}
