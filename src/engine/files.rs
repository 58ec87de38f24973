//! Files: kept as they come, for a time.
//!
//! A file's bytes are the blob of their hash, shared with documents under the same rules: a blob is
//! there before its row, and goes when no row needs it any more.

use std::future::ready;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, once, try_unfold};
use tracing::{error, warn};

use super::catalog::clean_name;
use super::ports::StoredFile;
use super::uploads::incomplete;
use super::{Engine, Inner, document_key, sha256_hex, stored};
use crate::domain::error::{Code, Error};
use crate::domain::id::{FileId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::time::Time;

/// Characters of a media type.
const MAX_MEDIA_TYPE: usize = 100;
/// What is said of bytes that nothing is said of.
const UNKNOWN: &str = "application/octet-stream";
/// Bytes of a file that are read at once.
const PIECE: u64 = 256 << 10;
/// Rows of one step of the sweep.
const STEP: u32 = 500;

/// The bytes of a file in order.
pub type FilePieces = BoxStream<'static, Result<Bytes, Error>>;

impl Engine {
    /// Keeps a file as it is. `media_type` may be empty; a name is cleaned of folders.
    pub async fn store_file(
        &self,
        scope: &Scope,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<StoredFile, Error> {
        let inner = &self.inner;
        inner.refuse_large(bytes.len() as u64)?;
        let (size, sha256) = (bytes.len() as u64, sha256_hex(&bytes));
        let file = inner.new_file(name, media_type, size, sha256)?;
        // A delete of the same bytes must not come between the blob and its row.
        let _kept = inner.blob_gate.read().await;
        let _held = stored(inner.catalog.hold_bytes(&file.sha256, false).await)?;
        stored(inner.blobs.put(&document_key(&file.sha256), bytes).await)?;
        stored(inner.files.insert_file(scope, file.clone()).await)?;
        Ok(file)
    }

    /// Makes a file of bytes that lie under their hash already, `size` of them.
    ///
    /// Refused with `file_not_found` when they do not.
    pub async fn adopt_file(
        &self,
        scope: &Scope,
        name: &str,
        media_type: &str,
        sha256: &str,
        size: u64,
    ) -> Result<StoredFile, Error> {
        let inner = &self.inner;
        let file = inner.new_file(name, media_type, size, sha256.to_owned())?;
        let _kept = inner.blob_gate.read().await;
        let _held = stored(inner.catalog.hold_bytes(sha256, false).await)?;
        let is_there = stored(inner.catalog.is_blob_needed(sha256).await)?
            || stored(inner.blobs.get(&document_key(sha256)).await)?.is_some();
        if !is_there {
            return Err(Error::new(
                Code::FileNotFound,
                format!("There are no bytes with the SHA-256 {sha256}."),
            ));
        }
        stored(inner.files.insert_file(scope, file.clone()).await)?;
        Ok(file)
    }

    /// A whole file whose time is not over.
    pub async fn file(&self, scope: &Scope, id: FileId) -> Result<StoredFile, Error> {
        let file = stored(self.inner.files.file(scope, id).await)?;
        let now = self.inner.clock.now();
        file.filter(|file| file.expires_at.is_none_or(|end| now < end))
            .ok_or_else(|| no_file(id))
    }

    pub async fn files(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<StoredFile>, Error> {
        let now = self.inner.clock.now();
        stored(self.inner.files.files(scope, now, query).await)
    }

    /// A whole file and its bytes, piece by piece, so that it need not be in memory as a whole. One
    /// that is still being uploaded is refused with `upload_incomplete`.
    ///
    /// The pieces end with an error when the file is deleted in the middle.
    pub async fn file_pieces(
        &self,
        scope: &Scope,
        id: FileId,
    ) -> Result<(StoredFile, FilePieces), Error> {
        let file = match self.file(scope, id).await {
            Ok(file) => file,
            Err(missing) => {
                return Err(match self.upload_state(scope, id).await {
                    Ok(upload) => incomplete(&upload),
                    Err(_) => missing,
                });
            }
        };
        // The first one before the answer begins: a file without bytes is not half sent.
        let (inner, size) = (Arc::clone(&self.inner), file.size);
        let key = document_key(&file.sha256);
        let first = inner.piece(&key, 0, size).await?;
        let rest = try_unfold(first.len() as u64, move |at| {
            let (inner, key) = (Arc::clone(&inner), key.clone());
            async move {
                if at >= size {
                    return Ok(None);
                }
                let piece = inner.piece(&key, at, size).await?;
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        });
        let pieces = once(ready(Ok(first))).chain(rest);
        Ok((file, pieces.boxed()))
    }

    /// The same, all at once.
    pub async fn file_content(
        &self,
        scope: &Scope,
        id: FileId,
    ) -> Result<(StoredFile, Bytes), Error> {
        let (file, mut pieces) = self.file_pieces(scope, id).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok((file, bytes.freeze()))
    }

    /// Deletes a whole file, and its bytes unless something else needs them.
    pub async fn delete_file(&self, scope: &Scope, id: FileId) -> Result<(), Error> {
        let file = self.file(scope, id).await?;
        self.inner.drop_file(scope, &file).await
    }

    /// Lets go of files and uploads whose time is over, step by step; gives how many there were.
    pub(super) async fn sweep_kept_files(&self, now: Time) -> u64 {
        let (inner, mut all) = (&self.inner, 0);
        while !inner.is_draining() {
            let step = match inner.sweep_step(now).await {
                Ok(step) => step,
                Err(cause) => {
                    warn!(%cause, "retention.files: old files could not be deleted");
                    break;
                }
            };
            all += step;
            if step < u64::from(STEP) {
                break;
            }
        }
        all
    }
}

impl Inner {
    /// Bytes of a blob from `at` on, at least one unless it ends there.
    async fn piece(&self, key: &str, at: u64, size: u64) -> Result<Bytes, Error> {
        let end = size.min(at + PIECE);
        let piece = stored(self.blobs.get_range(key, at..end).await)?;
        let piece = piece.filter(|piece| !piece.is_empty() || at == end);
        piece.ok_or_else(|| {
            error!(
                key,
                "files.blob_missing: a file has not the bytes it should have"
            );
            Error::internal()
        })
    }

    pub(super) fn refuse_large(&self, size: u64) -> Result<(), Error> {
        let limit = self.settings.max_document_bytes;
        if size <= limit {
            return Ok(());
        }
        Err(Error::new(
            Code::TooLarge,
            format!("The file has {size} bytes; the limit is {limit} (`max_document_bytes`)."),
        ))
    }

    pub(super) fn new_file(
        &self,
        name: &str,
        media_type_: &str,
        size: u64,
        sha256: String,
    ) -> Result<StoredFile, Error> {
        let now = self.clock.now();
        Ok(StoredFile {
            id: FileId(self.clock.mint()),
            name: clean_name(name),
            media_type: media_type(media_type_)?,
            size,
            sha256,
            created_at: now,
            expires_at: self.settings.lifetimes.files.map(|time| now.plus(time)),
        })
    }

    async fn drop_file(&self, scope: &Scope, file: &StoredFile) -> Result<(), Error> {
        let _alone = self.blob_gate.write().await;
        let _held = stored(self.catalog.hold_bytes(&file.sha256, true).await)?;
        if stored(self.files.delete_file(scope, file.id).await)?.is_none() {
            return Err(no_file(file.id));
        }
        self.drop_bytes(&file.sha256).await.map(drop)
    }

    async fn sweep_step(&self, now: Time) -> Result<u64, Error> {
        let mut gone = 0;
        for (scope, id) in stored(self.files.files_before(now, STEP).await)? {
            let Some(file) = stored(self.files.file(&scope, id).await)? else {
                continue;
            };
            match self.drop_file(&scope, &file).await {
                Err(error) if error.code != Code::FileNotFound => return Err(error),
                _ => gone += 1,
            }
        }
        for (scope, id) in stored(self.files.uploads_before(now, STEP).await)? {
            match self.drop_upload(&scope, id).await {
                Err(error) if error.code != Code::FileNotFound => return Err(error),
                _ => gone += 1,
            }
        }
        Ok(gone)
    }
}

/// A media type as it is sent back: `type/subtype`, parameters and all, or that of unknown bytes.
pub(super) fn media_type(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(UNKNOWN.to_owned());
    }
    let is_token = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(is_plain)
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let halves = essence.split_once('/');
    let is_type = halves.is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_type && is_printable && text.len() <= MAX_MEDIA_TYPE {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    let message = format!(
        "`{shown}` is not a media type. Send one such as `application/x-ndjson`, of at most {MAX_MEDIA_TYPE} characters, or none."
    );
    Err(Error::new(Code::InvalidRequest, message.clone()).at("/media_type", message))
}

fn no_file(id: FileId) -> Error {
    Error::new(
        Code::FileNotFound,
        format!("There is no file {id}, or not any more. Upload it with POST /v1/extract/files."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_taken_in_its_form_and_nothing_else() {
        assert_eq!(media_type(" ").unwrap(), UNKNOWN);
        for good in ["application/x-ndjson", "text/plain; charset=utf-8", "a/b+c"] {
            assert_eq!(media_type(good).unwrap(), good);
        }
        let long = format!("a/{}", "b".repeat(99));
        for bad in [
            "text",
            "/",
            "a/",
            "a b/c",
            "a/b\r\nX: y",
            "a/b;\u{e9}",
            &long,
        ] {
            assert_eq!(
                media_type(bad).unwrap_err().code,
                Code::InvalidRequest,
                "{bad}"
            );
        }
    }
}
