//! Uploads in chunks: in order, each once, until the file is whole.
//!
//! Each chunk is a blob of its own, under a key that no other upload or place has; they are joined
//! when the upload is completed, and go with it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tracing::info;

use super::catalog::clean_name;
use super::files::media_type;
use super::ports::{Appended, Finished, StoredChunk, StoredFile, StoredUpload};
use super::{Engine, Inner, document_key, sha256_hex, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{FileId, Scope};

/// Bytes of one chunk of an upload.
pub const MAX_CHUNK: usize = 5 << 20;
/// Chunks of one upload: what is larger than so many of the largest is no file of ours, and a
/// client that sends crumbs is told to send more at once.
const MAX_CHUNKS: usize = 10_000;
/// Uploads of a user that may be open at once.
pub const MAX_UPLOADS: u32 = 100;
/// How long an upload stays open.
const UPLOAD_LIFETIME: Duration = Duration::from_hours(24);

/// What an upload in chunks begins with.
#[derive(Debug, Clone, Default)]
pub struct UploadDraft {
    pub name: String,
    pub media_type: Option<String>,
    /// Bytes that the whole file will have: it is held against them when it is whole.
    pub size: Option<u64>,
    /// The same for its lower-case hexadecimal SHA-256.
    pub sha256: Option<String>,
}

impl Engine {
    /// Begins a file that comes in chunks.
    pub async fn begin_upload(
        &self,
        scope: &Scope,
        draft: UploadDraft,
    ) -> Result<StoredUpload, Error> {
        let inner = &self.inner;
        inner.refuse_large(draft.size.unwrap_or_default())?;
        let now = inner.clock.now();
        let upload = StoredUpload {
            id: FileId(inner.clock.mint()),
            name: clean_name(&draft.name),
            media_type: media_type(draft.media_type.as_deref().unwrap_or_default())?,
            size: draft.size,
            sha256: draft.sha256.map(|hash| checked_hash(&hash)).transpose()?,
            received: 0,
            created_at: now,
            updated_at: now,
            expires_at: now.plus(UPLOAD_LIFETIME),
        };
        let begun = inner
            .files
            .insert_upload(scope, upload.clone(), MAX_UPLOADS);
        if stored(begun.await)? {
            return Ok(upload);
        }
        Err(Error::new(
            Code::TooManyUploads,
            format!(
                "{MAX_UPLOADS} uploads are open, the limit. Complete or delete one; an upload ends by itself after 24 hours."
            ),
        ))
    }

    /// An upload that is still open.
    pub async fn upload_state(&self, scope: &Scope, id: FileId) -> Result<StoredUpload, Error> {
        let upload = stored(self.inner.files.upload(scope, id).await)?;
        let now = self.inner.clock.now();
        upload
            .filter(|upload| now < upload.expires_at)
            .ok_or_else(|| no_upload(id))
    }

    /// An upload that a chunk can be added to; one that is whole is refused with
    /// `upload_conflict`.
    pub async fn open_upload(&self, scope: &Scope, id: FileId) -> Result<StoredUpload, Error> {
        match self.upload_state(scope, id).await {
            Ok(upload) => Ok(upload),
            Err(missing) => Err(self.closed(scope, id).await.unwrap_or(missing)),
        }
    }

    /// Adds a chunk, 1 to [`MAX_CHUNK`] bytes, at its `offset` or, without one, where the upload
    /// ends.
    ///
    /// A chunk that is there already does no harm when it names its offset: without one, nobody
    /// could tell it from a second chunk of the same bytes. Refused with `upload_conflict` where
    /// the offset is another one, or other bytes are there.
    pub async fn append_chunk(
        &self,
        scope: &Scope,
        id: FileId,
        offset: Option<u64>,
        bytes: Bytes,
    ) -> Result<StoredUpload, Error> {
        let inner = &self.inner;
        let upload = self.open_upload(scope, id).await?;
        refuse_chunk(&bytes)?;
        let chunk = StoredChunk {
            offset: offset.unwrap_or(upload.received),
            size: bytes.len() as u64,
            sha256: sha256_hex(&bytes),
        };
        if chunk.offset == upload.received {
            let end = chunk.offset + chunk.size;
            inner.refuse_large(end)?;
            refuse_beyond(&upload, end)?;
            self.refuse_crumbs(scope, &upload, &chunk).await?;
            stored(inner.blobs.put(&chunk_key(id, &chunk), bytes).await)?;
        }
        let now = inner.clock.now();
        let appended = inner.files.append_chunk(scope, id, chunk.clone(), now);
        match stored(appended.await)? {
            Appended::Stored(upload) => Ok(upload),
            Appended::Elsewhere(upload, Some(there)) if there == chunk => Ok(upload),
            Appended::Elsewhere(now, there) => {
                if chunk.offset == upload.received {
                    inner.drop_chunk(id, &chunk).await;
                }
                Err(conflict(&now, &chunk, there.is_some()))
            }
            Appended::Missing => {
                inner.drop_chunk(id, &chunk).await;
                Err(no_upload(id))
            }
        }
    }

    /// Makes a file of an upload; it keeps the id. Done once: asked again, it gives the file.
    ///
    /// Refused with `upload_conflict` when its bytes are not those that were said when it began.
    pub async fn complete_upload(&self, scope: &Scope, id: FileId) -> Result<StoredFile, Error> {
        let inner = &self.inner;
        let upload = match self.upload_state(scope, id).await {
            Ok(upload) => upload,
            Err(missing) => return self.file(scope, id).await.map_err(|_| missing),
        };
        let chunks = stored(inner.files.chunks(scope, id).await)?;
        let Some(bytes) = inner.assemble(id, &chunks).await? else {
            // Another one has completed it, or it is gone.
            return self.file(scope, id).await.map_err(|_| no_upload(id));
        };
        let (size, sha256) = (bytes.len() as u64, sha256_hex(&bytes));
        refuse_unlike(&upload, size, &sha256)?;
        let file = StoredFile {
            id,
            ..inner.new_file(&upload.name, &upload.media_type, size, sha256)?
        };
        let finished = {
            let _kept = inner.blob_gate.read().await;
            let _held = stored(inner.catalog.hold_bytes(&file.sha256, false).await)?;
            stored(inner.blobs.put(&document_key(&file.sha256), bytes).await)?;
            stored(inner.files.finish_upload(scope, file.clone()).await)?
        };
        match finished {
            Finished::Stored => {
                for chunk in &chunks {
                    inner.drop_chunk(id, chunk).await;
                }
                Ok(file)
            }
            Finished::Missing => self.file(scope, id).await.map_err(|_| no_upload(id)),
            Finished::Changed => Err(Error::new(
                Code::UploadConflict,
                "A chunk came while the upload was being completed. Complete it once all chunks were answered.",
            )),
        }
    }

    /// Gives up an upload that is open.
    pub async fn abandon_upload(&self, scope: &Scope, id: FileId) -> Result<(), Error> {
        self.upload_state(scope, id).await?;
        self.inner.drop_upload(scope, id).await
    }

    /// Why a file that is whole takes no chunk.
    async fn closed(&self, scope: &Scope, id: FileId) -> Option<Error> {
        let file = self.file(scope, id).await.ok()?;
        Some(Error::new(
            Code::UploadConflict,
            format!(
                "File {id} is whole, with {} bytes, and takes no further chunk. Begin another upload.",
                file.size
            ),
        ))
    }

    async fn refuse_crumbs(
        &self,
        scope: &Scope,
        upload: &StoredUpload,
        chunk: &StoredChunk,
    ) -> Result<(), Error> {
        // Looked at only where there may be too many: each has at least one byte.
        if chunk.offset < MAX_CHUNKS as u64 {
            return Ok(());
        }
        let chunks = stored(self.inner.files.chunks(scope, upload.id).await)?;
        if chunks.len() < MAX_CHUNKS {
            return Ok(());
        }
        Err(Error::new(
            Code::TooLarge,
            format!(
                "The upload has {MAX_CHUNKS} chunks, the limit. Begin anew with larger ones, of up to {MAX_CHUNK} bytes."
            ),
        ))
    }
}

impl Inner {
    /// The bytes of all chunks; none when one of them is gone.
    async fn assemble(&self, id: FileId, chunks: &[StoredChunk]) -> Result<Option<Bytes>, Error> {
        let size: u64 = chunks.iter().map(|chunk| chunk.size).sum();
        let mut bytes = BytesMut::with_capacity(size as usize);
        for chunk in chunks {
            let Some(part) = stored(self.blobs.get(&chunk_key(id, chunk)).await)? else {
                return Ok(None);
            };
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes.freeze()))
    }

    pub(super) async fn drop_upload(&self, scope: &Scope, id: FileId) -> Result<(), Error> {
        let chunks = stored(self.files.delete_upload(scope, id).await)?;
        for chunk in chunks.ok_or_else(|| no_upload(id))? {
            self.drop_chunk(id, &chunk).await;
        }
        Ok(())
    }

    /// One that cannot be deleted is found again by the sweep of files without a row.
    async fn drop_chunk(&self, id: FileId, chunk: &StoredChunk) {
        if let Err(cause) = self.blobs.delete(&chunk_key(id, chunk)).await {
            info!(upload = %id, %cause, "files.chunk_left");
        }
    }
}

/// The key of a chunk's blob. Its hash is in it, so that of two that want the same place none
/// overwrites the other.
fn chunk_key(id: FileId, chunk: &StoredChunk) -> String {
    format!("uploads/{id}/{}.{}", chunk.offset, chunk.sha256)
}

/// The upload that the file under a key is a chunk of.
pub(super) fn upload_of(key: &str) -> Option<FileId> {
    let (id, _) = key.strip_prefix("uploads/")?.split_once('/')?;
    FileId::parse(id).ok()
}

fn checked_hash(text: &str) -> Result<String, Error> {
    let hash = text.to_ascii_lowercase();
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hash);
    }
    let message = "A SHA-256 has 64 hexadecimal digits.";
    Err(Error::new(Code::InvalidRequest, format!("At `/sha256`: {message}")).at("/sha256", message))
}

fn refuse_chunk(bytes: &Bytes) -> Result<(), Error> {
    if bytes.is_empty() {
        let message = "A chunk has at least one byte.";
        return Err(Error::new(Code::InvalidRequest, message).at("/data", message));
    }
    if bytes.len() > MAX_CHUNK {
        let size = bytes.len();
        let message =
            format!("The chunk has {size} bytes; the limit is {MAX_CHUNK}. Send it as several.");
        return Err(Error::new(Code::TooLarge, message.clone()).at("/data", message));
    }
    Ok(())
}

fn refuse_beyond(upload: &StoredUpload, end: u64) -> Result<(), Error> {
    match upload.size {
        Some(size) if end > size => Err(Error::new(
            Code::UploadConflict,
            format!(
                "The chunk would end at byte {end}; the file was said to have {size}, and {} are there.",
                upload.received
            ),
        )),
        _ => Ok(()),
    }
}

fn refuse_unlike(upload: &StoredUpload, size: u64, sha256: &str) -> Result<(), Error> {
    if let Some(said) = upload.size.filter(|said| *said != size) {
        return Err(Error::new(
            Code::UploadConflict,
            format!(
                "{size} bytes are there; the file was said to have {said}. Send the rest, then complete it."
            ),
        ));
    }
    if let Some(said) = upload.sha256.as_ref().filter(|said| *said != sha256) {
        return Err(Error::new(
            Code::UploadConflict,
            format!(
                "The bytes have the SHA-256 {sha256}; the file was said to have {said}. Delete the upload and begin anew."
            ),
        ));
    }
    Ok(())
}

fn conflict(upload: &StoredUpload, chunk: &StoredChunk, is_there: bool) -> Error {
    let (offset, received) = (chunk.offset, upload.received);
    let what = if is_there {
        format!("Another chunk is there at offset {offset}.")
    } else {
        format!("No chunk goes to offset {offset}.")
    };
    Error::new(
        Code::UploadConflict,
        format!("{what} {received} bytes were received: the next chunk goes to offset {received}."),
    )
}

pub(super) fn incomplete(upload: &StoredUpload) -> Error {
    Error::new(
        Code::UploadIncomplete,
        format!(
            "File {} is still being uploaded: {} bytes were received. Complete it with POST /v1/extract/uploads/{}/complete.",
            upload.id, upload.received, upload.id
        ),
    )
}

fn no_upload(id: FileId) -> Error {
    Error::new(
        Code::FileNotFound,
        format!("There is no open upload {id}. Begin one with POST /v1/extract/uploads."),
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_key_of_a_chunk_names_its_upload() {
        let id = FileId(Uuid::from_u128(7));
        let chunk = StoredChunk {
            offset: 5,
            size: 1,
            sha256: "0".repeat(64),
        };
        assert_eq!(upload_of(&chunk_key(id, &chunk)), Some(id));
        assert_eq!(upload_of("documents/00"), None);
    }
}
