//! Documents and schemas: what jobs are made from.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tracing::error;

use super::metrics::label;
use super::ports::{Deleted, Reader, StoredDocument, StoredSchema};
use super::{Engine, Inner, stored};
use crate::domain::document::Document;
use crate::domain::error::{Code, Error};
use crate::domain::id::{DocumentId, SchemaId, Scope};
use crate::domain::page::{ListPage, ListQuery};
use crate::domain::plan::Plan;
use crate::domain::plan::SplitterConfigs;
use crate::domain::schema::{self, MAX_TAKEN_IN};

/// Words of parsed documents kept in memory, all documents together.
const KEPT_WORDS: usize = 300_000;
/// Characters of names, and of descriptions.
const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 10_000;
/// Bytes of a schema's metadata.
const MAX_METADATA: usize = 16 << 10;
/// The layout of stored parsed documents; part of their key, so that a reader that yields more
/// reads files again.
const PARSED: &str = "1";

/// What a schema is saved with.
#[derive(Debug, Clone)]
pub struct SchemaDraft {
    pub name: String,
    pub description: Option<String>,
    pub definition: Value,
    pub metadata: Value,
}

/// Parsed documents that were used last, bounded by their words.
#[derive(Default)]
pub(super) struct Parsed {
    kept: Mutex<VecDeque<Arc<Document>>>,
}

impl Parsed {
    fn get(&self, sha256: &str) -> Option<Arc<Document>> {
        let mut kept = self.kept.lock();
        let at = kept.iter().position(|document| document.sha256 == sha256)?;
        let document = kept.remove(at)?;
        kept.push_back(Arc::clone(&document));
        Some(document)
    }

    fn keep(&self, document: Arc<Document>) {
        let mut kept = self.kept.lock();
        kept.retain(|other| other.sha256 != document.sha256);
        kept.push_back(document);
        let mut words: usize = kept.iter().map(|document| document.word_count()).sum();
        while words > KEPT_WORDS {
            let Some(oldest) = kept.pop_front() else {
                break;
            };
            words -= oldest.word_count();
        }
    }
}

/// A document as it was read just now.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub document: StoredDocument,
    /// Numbers of the pages without words whose content only a model that sees can read.
    pub unread: Vec<u32>,
}

impl Engine {
    /// Reads a file and keeps it. Refused when no reader can make words of it.
    pub async fn upload(&self, scope: &Scope, name: &str, bytes: Bytes) -> Result<Uploaded, Error> {
        let inner = &self.inner;
        self.refuse_large(&bytes)?;
        let document = inner.read(bytes.clone()).await?;
        let stored_document = StoredDocument {
            id: DocumentId(inner.clock.mint()),
            name: clean_name(name),
            kind: document.kind,
            size: bytes.len() as u64,
            sha256: document.sha256.clone(),
            page_count: document.pages.len() as u32,
            uploaded_at: inner.clock.now(),
        };
        // A delete of the same bytes must not come between the blob and its row.
        let _kept = inner.blob_gate.read().await;
        let _held = stored(inner.catalog.hold_bytes(&document.sha256, false).await)?;
        stored(
            inner
                .blobs
                .put(&document_key(&document.sha256), bytes)
                .await,
        )?;
        inner.keep_parsed(&document).await?;
        stored(
            inner
                .catalog
                .insert_document(scope, stored_document.clone())
                .await,
        )?;
        let unread = document.unread.clone();
        inner.parsed.keep(document);
        Ok(Uploaded {
            document: stored_document,
            unread,
        })
    }

    pub async fn document(&self, scope: &Scope, id: DocumentId) -> Result<StoredDocument, Error> {
        stored(self.inner.catalog.document(scope, id).await)?.ok_or_else(|| no_document(id))
    }

    pub async fn documents(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<StoredDocument>, Error> {
        stored(self.inner.catalog.documents(scope, query).await)
    }

    /// The bytes as they were uploaded.
    pub async fn document_content(
        &self,
        scope: &Scope,
        id: DocumentId,
    ) -> Result<(StoredDocument, Bytes), Error> {
        let document = self.document(scope, id).await?;
        let bytes = stored(self.inner.blobs.get(&document_key(&document.sha256)).await)?;
        let bytes = bytes.ok_or_else(|| {
            error!(document = %id, sha256 = document.sha256, "catalog.blob_missing: a document has no file");
            Error::internal()
        })?;
        Ok((document, bytes))
    }

    /// The words of a document as text, its pages divided by an empty line.
    pub async fn document_text(&self, scope: &Scope, id: DocumentId) -> Result<String, Error> {
        let document = self.document(scope, id).await?;
        let document = self.inner.parsed_document(&document.sha256).await?;
        let pages = document.pages.iter().map(|page| page.text.as_str());
        Ok(pages.collect::<Vec<_>>().join("\n\n"))
    }

    pub async fn delete_document(&self, scope: &Scope, id: DocumentId) -> Result<(), Error> {
        let inner = &self.inner;
        let document = self.document(scope, id).await?;
        let _alone = inner.blob_gate.write().await;
        let _held = stored(inner.catalog.hold_bytes(&document.sha256, true).await)?;
        match stored(inner.catalog.delete_document(scope, id).await)? {
            Deleted::Gone => {}
            Deleted::Missing => return Err(no_document(id)),
            Deleted::InUse => {
                return Err(Error::new(
                    Code::DocumentInUse,
                    format!(
                        "A job that has not ended needs document {id}. Cancel the job or wait for its end."
                    ),
                ));
            }
        }
        inner.drop_bytes(&document.sha256).await.map(drop)
    }

    pub async fn create_schema(
        &self,
        scope: &Scope,
        draft: SchemaDraft,
    ) -> Result<StoredSchema, Error> {
        let now = self.inner.clock.now();
        let id = SchemaId(self.inner.clock.mint());
        let schema = self.check(scope, id, draft).await?;
        let schema = StoredSchema {
            created_at: now,
            updated_at: now,
            ..schema
        };
        stored(
            self.inner
                .catalog
                .insert_schema(scope, schema.clone())
                .await,
        )?;
        Ok(schema)
    }

    pub async fn schema(&self, scope: &Scope, id: SchemaId) -> Result<StoredSchema, Error> {
        stored(self.inner.catalog.schema(scope, id).await)?.ok_or_else(|| no_schema(id))
    }

    pub async fn schemas(
        &self,
        scope: &Scope,
        query: ListQuery,
    ) -> Result<ListPage<StoredSchema>, Error> {
        stored(self.inner.catalog.schemas(scope, query).await)
    }

    /// Replaces a schema. Jobs that were made from it keep the one they began with.
    pub async fn update_schema(
        &self,
        scope: &Scope,
        id: SchemaId,
        draft: SchemaDraft,
    ) -> Result<StoredSchema, Error> {
        let before = self.schema(scope, id).await?;
        let schema = self.check(scope, id, draft).await?;
        let updated_at = self.inner.clock.now();
        let schema = StoredSchema {
            created_at: before.created_at,
            updated_at,
            ..schema
        };
        if stored(
            self.inner
                .catalog
                .update_schema(scope, schema.clone())
                .await,
        )? {
            Ok(schema)
        } else {
            Err(no_schema(id))
        }
    }

    pub async fn delete_schema(&self, scope: &Scope, id: SchemaId) -> Result<(), Error> {
        match stored(self.inner.catalog.delete_schema(scope, id).await)? {
            Deleted::Missing => Err(no_schema(id)),
            Deleted::Gone | Deleted::InUse => Ok(()),
        }
    }

    /// What a schema splits into, or what is wrong with it.
    pub async fn plan(
        &self,
        definition: &Value,
        splitter: SplitterConfigs,
    ) -> Result<Arc<Plan>, Error> {
        Ok(Arc::clone(
            &self.inner.plans.of(definition, splitter).await?.plan,
        ))
    }

    /// A schema with those stored schemas of its user in it that it refers to by their `$id`, and
    /// that they refer to.
    ///
    /// What is not stored stays a reference, which is refused when the schema is accepted.
    pub async fn embed(&self, scope: &Scope, mut definition: Value) -> Result<Value, Error> {
        let mut taken_in = 0;
        while taken_in < MAX_TAKEN_IN {
            let mut found = Vec::new();
            for address in schema::wanted(&definition)
                .into_iter()
                .take(MAX_TAKEN_IN - taken_in)
            {
                let known = stored(self.inner.catalog.schema_at(scope, &address).await)?;
                found.extend(known.map(|known| (address, known.definition)));
            }
            if found.is_empty() {
                break;
            }
            taken_in += found.len();
            definition = schema::take_in(definition, found)?;
        }
        Ok(definition)
    }

    async fn check(
        &self,
        scope: &Scope,
        id: SchemaId,
        draft: SchemaDraft,
    ) -> Result<StoredSchema, Error> {
        let invalid = |pointer: &str, message: String| {
            Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}"))
                .at(pointer, message)
        };
        let name = draft.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(invalid(
                "/name",
                format!("A schema needs a name of 1 to {MAX_NAME} characters."),
            ));
        }
        if draft
            .description
            .as_ref()
            .is_some_and(|text| text.chars().count() > MAX_DESCRIPTION)
        {
            return Err(invalid(
                "/description",
                format!("At most {MAX_DESCRIPTION} characters."),
            ));
        }
        if !draft.metadata.is_object() || draft.metadata.to_string().len() > MAX_METADATA {
            return Err(invalid(
                "/metadata",
                format!("An object of at most {MAX_METADATA} bytes."),
            ));
        }
        let whole = self.embed(scope, draft.definition.clone()).await?;
        let splitter = SplitterConfigs::default();
        self.inner.plans.of(&whole, splitter).await?;
        let now = self.inner.clock.now();
        Ok(StoredSchema {
            id,
            name,
            description: draft.description,
            definition: draft.definition,
            metadata: draft.metadata,
            created_at: now,
            updated_at: now,
        })
    }
}

impl Inner {
    /// Has the reader work on a blocking thread; a few at a time, since each may take a core and
    /// memory. Nobody may wait for the work any more, and it still has its turn.
    pub(super) async fn on_reader<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce(&dyn Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(turns)
            .acquire_owned()
            .await
            .map_err(|_| Error::internal())?;
        let reader = Arc::clone(&self.reader);
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work(&*reader);
            drop(turn);
            worked
        });
        worked.await.unwrap_or_else(|panic| {
            error!(%panic, "catalog.reader_panicked: a file broke its reader");
            Err(Error::new(Code::DocumentCorrupt, "The file broke its reader, so it cannot be used. Try to save it anew from the program that made it."))
        })
    }

    pub(super) async fn read(&self, bytes: Bytes) -> Result<Arc<Document>, Error> {
        let read = self
            .on_reader(&self.reading, move |reader| reader.read(&bytes))
            .await;
        let outcome = read
            .as_ref()
            .map_or_else(|error| error.code.name(), |_| "read");
        self.metrics
            .documents_read
            .get_or_create(&label("outcome", outcome))
            .inc();
        read.map(Arc::new)
    }

    /// Deletes the files of these bytes unless they are needed, and says whether it did. The
    /// caller holds them alone.
    pub(super) async fn drop_bytes(&self, sha256: &str) -> Result<bool, Error> {
        if stored(self.catalog.is_blob_needed(sha256).await)? {
            return Ok(false);
        }
        stored(self.blobs.delete(&document_key(sha256)).await)?;
        stored(self.blobs.delete(&parsed_key(sha256)).await)?;
        Ok(true)
    }

    async fn keep_parsed(&self, document: &Document) -> Result<(), Error> {
        let json = serde_json::to_vec(document).map_err(|cause| {
            error!(%cause, "catalog.parsed: a document could not be written as JSON");
            Error::internal()
        })?;
        stored(
            self.blobs
                .put(&parsed_key(&document.sha256), json.into())
                .await,
        )
    }

    pub(super) async fn document_bytes(&self, sha256: &str) -> Result<Bytes, Error> {
        let bytes = stored(self.blobs.get(&document_key(sha256)).await)?;
        bytes.ok_or_else(|| Error::new(Code::DocumentNotFound, "The file of the document is gone."))
    }

    /// The words of a stored document: from memory, as parsed before, or read again.
    pub(super) async fn parsed_document(&self, sha256: &str) -> Result<Arc<Document>, Error> {
        if let Some(document) = self.parsed.get(sha256) {
            return Ok(document);
        }
        if let Some(json) = stored(self.blobs.get(&parsed_key(sha256)).await)? {
            let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&json)).await;
            if let Ok(Ok(document)) = parsed {
                let document = Arc::new(document);
                self.parsed.keep(Arc::clone(&document));
                return Ok(document);
            }
        }
        let bytes = self.document_bytes(sha256).await?;
        let document = self.read(bytes).await?;
        self.keep_parsed(&document).await?;
        self.parsed.keep(Arc::clone(&document));
        Ok(document)
    }
}

/// The key of a document's blob, from the SHA-256 of its bytes.
pub fn document_key(sha256: &str) -> String {
    format!("documents/{sha256}")
}

fn parsed_key(sha256: &str) -> String {
    format!("parsed/{sha256}.{PARSED}.json")
}

/// The bytes that the file under a key belongs to; `None` for a key that is not of this engine.
pub(super) fn sha256_of(key: &str) -> Option<&str> {
    let parsed = || key.strip_prefix("parsed/")?.strip_suffix(".json");
    let sha256 = key
        .strip_prefix("documents/")
        .or_else(|| Some(parsed()?.split_once('.')?.0))?;
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(sha256)
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The file's own name: no folders, no control characters, never a path.
pub(super) fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    let clean = clean.trim();
    if clean.trim_matches('.').is_empty() {
        "document".to_owned()
    } else {
        clean.to_owned()
    }
}

fn no_document(id: DocumentId) -> Error {
    Error::new(
        Code::DocumentNotFound,
        format!(
            "There is no document {id}. Upload it first with POST /v1/extract/documents/upload."
        ),
    )
}

fn no_schema(id: SchemaId) -> Error {
    Error::new(
        Code::SchemaNotFound,
        format!("There is no schema {id}. Create it first with POST /v1/extract/schemas."),
    )
}
