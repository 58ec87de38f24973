//! Files as they are, and those that are still being uploaded in chunks.

use super::Answered;
use crate::domain::id::{FileId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;

/// A whole file. Its bytes are the blob of their hash, which it shares with documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub id: FileId,
    pub name: String,
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal SHA-256 of the bytes.
    pub sha256: String,
    pub created_at: Time,
    /// When it is there no more; none where files are kept until they are deleted.
    pub expires_at: Option<Time>,
}

/// A file that is being uploaded in chunks. It becomes a [`StoredFile`] of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpload {
    pub id: FileId,
    pub name: String,
    pub media_type: String,
    /// Bytes that the whole file will have, where its uploader said so.
    pub size: Option<u64>,
    /// Hash that the whole file will have, where its uploader said so.
    pub sha256: Option<String>,
    /// Bytes that are there: where the next chunk goes.
    pub received: u64,
    pub created_at: Time,
    pub updated_at: Time,
    pub expires_at: Time,
}

/// A part of an upload; its bytes are a blob of their own until the file is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// Bytes, at least 1.
    pub size: u64,
    pub sha256: String,
}

/// What became of [`Files::append_chunk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    Stored(StoredUpload),
    /// Nothing was written: the upload ends elsewhere. With what is there at the offset, if a
    /// chunk begins there.
    Elsewhere(StoredUpload, Option<StoredChunk>),
    Missing,
}

/// What became of [`Files::finish_upload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Stored,
    /// Nothing was written: a chunk came in between.
    Changed,
    Missing,
}

/// Files and uploads. Every write is on disk when its future resolves.
pub trait Files: Send + Sync {
    fn insert_file(&self, scope: &Scope, file: StoredFile) -> Answered<'_, ()>;
    /// The file, whether its time is over or not.
    fn file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>>;
    /// Those whose time is not over at `now`.
    fn files(
        &self,
        scope: &Scope,
        now: Time,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredFile>>;
    /// The file as it was; none when it is not there.
    fn delete_file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>>;
    /// Files of all scopes whose time was over by then; at most `limit`, the oldest first.
    fn files_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>>;

    /// False, and nothing written, when the scope has `limit` uploads whose time is not over.
    fn insert_upload(&self, scope: &Scope, upload: StoredUpload, limit: u32) -> Answered<'_, bool>;
    fn upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredUpload>>;
    /// Chunks by their offset: without gap or overlap, and all that was received.
    fn chunks(&self, scope: &Scope, id: FileId) -> Answered<'_, Vec<StoredChunk>>;
    /// Adds a chunk to the end of the upload, which must be at its offset.
    fn append_chunk(
        &self,
        scope: &Scope,
        id: FileId,
        chunk: StoredChunk,
        now: Time,
    ) -> Answered<'_, Appended>;
    /// Puts a file in the place of its upload, which has as many bytes. Its chunks are forgotten.
    fn finish_upload(&self, scope: &Scope, file: StoredFile) -> Answered<'_, Finished>;
    /// The chunks it had; none when it is not there.
    fn delete_upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<Vec<StoredChunk>>>;
    /// Uploads of all scopes whose time was over by then; at most `limit`, the oldest first.
    fn uploads_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>>;
    /// Whether any scope has this upload.
    fn has_upload(&self, id: FileId) -> Answered<'_, bool>;
}
