//! Documents, schemas and lists on the disk.

use rivulet::domain::filter::{JobFilter, NATIVE};
use rivulet::domain::id::{DocumentId, SchemaId, Scope};
use rivulet::domain::job::JobView;
use rivulet::domain::metadata::Metadata;
use rivulet::domain::page::{ListCursor, ListPage, ListQuery};
use rivulet::domain::schema::address;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{Deleted, JobQuery, StoreError, StoredDocument, StoredSchema};
use uuid::Uuid;

use super::memory::{Memory, Owned, Row, is_active};

/// Fewer digits are in too many ids.
const MIN_ID_DIGITS: usize = 8;

pub(super) fn owned<Id>(scope: &Scope, id: Id) -> Owned<Id> {
    (scope.as_str().to_owned(), id)
}

/// Whether a name holds the text.
pub(super) fn holds(name: &str, text: Option<&str>) -> bool {
    let text = text.unwrap_or_default().to_ascii_lowercase();
    name.to_ascii_lowercase().contains(&text)
}

fn is_listed(row: &Row, query: &JobQuery) -> bool {
    let text = query.page.search.as_deref();
    let digits = text.unwrap_or_default().replace('-', "").to_lowercase();
    let has_id = digits.len() >= MIN_ID_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && row.view.id.0.simple().to_string().contains(&digits);
    let spec = &row.view.spec;
    let has_name = holds(&spec.document_name, text)
        || spec
            .schema_name
            .as_ref()
            .is_some_and(|name| holds(name, text));
    is_admitted(row, &query.filter) && (has_id || has_name)
}

/// Whether the job passes a filter, whose pattern is the engine's.
fn is_admitted(row: &Row, filter: &JobFilter) -> bool {
    let (job, spec) = (&row.view, &row.view.spec);
    let is = |wanted: &Option<String>, value: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == value)
    };
    let pairs = |metadata: &Metadata| serde_json::to_value(metadata).unwrap();
    let (wanted, held) = (pairs(&filter.metadata), pairs(&spec.metadata));
    let mut wanted = wanted.as_object().unwrap().iter();
    (filter.statuses.is_empty() || filter.statuses.contains(&job.status))
        && filter.id.is_none_or(|id| id == job.id)
        && is(&filter.dialect, spec.dialect.as_deref().unwrap_or(NATIVE))
        && is(
            &filter.endpoint,
            spec.endpoint.as_deref().unwrap_or_default(),
        )
        && filter.schema_id.is_none_or(|id| spec.schema_id == Some(id))
        && is(&filter.model, &spec.config.model)
        && holds(&spec.document_name, filter.name_contains.as_deref())
        && filter.from.is_none_or(|from| from <= job.created_at)
        && filter.to.is_none_or(|to| job.created_at < to)
        && wanted.all(|(key, value)| held.get(key) == Some(value))
}

/// One page of everything that matches.
pub(super) fn page<T>(mut all: Vec<T>, id: impl Fn(&T) -> Uuid, query: &ListQuery) -> ListPage<T> {
    all.sort_by_key(|item| std::cmp::Reverse(id(item)));
    let total_count = all.len() as u64;
    let limit = query.limit as usize;
    // Where the page begins and ends among all that match.
    let (from, to) = match query.cursor {
        None => (0, limit.min(all.len())),
        Some(ListCursor::Older(than)) => {
            let from = all.partition_point(|item| id(item) >= than);
            (from, (from + limit).min(all.len()))
        }
        Some(ListCursor::Newer(than)) => {
            let to = all.partition_point(|item| id(item) > than);
            (to.saturating_sub(limit), to)
        }
    };
    let (has_newer, has_older) = (from > 0, to < all.len());
    let step = |id: Uuid, by: i128| Uuid::from_u128(id.as_u128().saturating_add_signed(by));
    let items: Vec<T> = all.drain(from..to).collect();
    // An empty page lies just beyond its cursor, whose own item may be the neighbour.
    let (newest, oldest) = match (items.first(), items.last(), query.cursor) {
        (Some(first), Some(last), _) => (id(first), id(last)),
        (_, _, Some(ListCursor::Older(id))) => (step(id, -1), id),
        (_, _, Some(ListCursor::Newer(id))) => (id, step(id, 1)),
        (_, _, None) => (Uuid::max(), Uuid::nil()),
    };
    ListPage {
        items,
        total_count,
        next_cursor: has_older.then_some(ListCursor::Older(oldest)),
        prev_cursor: has_newer.then_some(ListCursor::Newer(newest)),
    }
}

impl Memory {
    pub fn list(&self, scope: &Scope, query: &JobQuery) -> ListPage<JobView> {
        let rows = self.jobs.values().filter(|row| row.scope == *scope);
        let listed = rows.filter(|row| is_listed(row, query));
        let views = listed.map(|row| row.view.clone()).collect();
        page(views, |view| view.id.0, &query.page)
    }

    pub fn insert_document(
        &mut self,
        scope: &Scope,
        document: StoredDocument,
    ) -> Result<(), StoreError> {
        let key = owned(scope, document.id);
        if self.documents.contains_key(&key) {
            return Err(StoreError::Failed("an id is given once".into()));
        }
        self.documents.insert(key, document);
        Ok(())
    }

    pub fn document(&self, scope: &Scope, id: DocumentId) -> Option<StoredDocument> {
        self.documents.get(&owned(scope, id)).cloned()
    }

    pub fn documents(&self, scope: &Scope, query: &ListQuery) -> ListPage<StoredDocument> {
        let all = self.documents.iter();
        let listed = all.filter(|((owner, _), document)| {
            owner == scope.as_str() && holds(&document.name, query.search.as_deref())
        });
        let listed = listed.map(|(_, document)| document.clone()).collect();
        page(listed, |document| document.id.0, query)
    }

    pub fn documents_before(&self, uploaded: Time, limit: u32) -> Vec<(Scope, DocumentId)> {
        let all = self.documents.iter();
        let is_old = |document: &StoredDocument| document.uploaded_at < uploaded;
        let free = all.filter(|((_, id), document)| is_old(document) && !self.is_used(*id));
        let mut free: Vec<_> = free.collect();
        free.sort_by_key(|(_, document)| document.uploaded_at);
        free.truncate(limit as usize);
        let named = free.iter().map(|((scope, id), _)| (Scope::new(scope), *id));
        named.collect()
    }

    fn is_used(&self, document: DocumentId) -> bool {
        let mut rows = self.jobs.values();
        rows.any(|row| is_active(row) && row.view.spec.document_id == document)
    }

    pub fn delete_document(&mut self, scope: &Scope, id: DocumentId) -> Deleted {
        let key = owned(scope, id);
        let mut rows = self.jobs.values().filter(|row| row.scope == *scope);
        if rows.any(|row| is_active(row) && row.view.spec.document_id == id) {
            return Deleted::InUse;
        }
        match self.documents.remove(&key) {
            Some(_) => Deleted::Gone,
            None => Deleted::Missing,
        }
    }

    pub fn is_blob_needed(&self, sha256: &str) -> bool {
        let mut rows = self.jobs.values();
        self.documents.values().any(|one| one.sha256 == sha256)
            || self.files.values().any(|one| one.sha256 == sha256)
            || rows.any(|row| is_active(row) && row.view.spec.document_sha256 == sha256)
    }

    pub fn insert_schema(&mut self, scope: &Scope, schema: StoredSchema) {
        self.schemas.insert(owned(scope, schema.id), schema);
    }

    pub fn schema(&self, scope: &Scope, id: SchemaId) -> Option<StoredSchema> {
        self.schemas.get(&owned(scope, id)).cloned()
    }

    pub fn schemas(&self, scope: &Scope, query: &ListQuery) -> ListPage<StoredSchema> {
        let all = self.schemas.iter();
        let listed = all.filter(|((owner, _), schema)| {
            owner == scope.as_str() && holds(&schema.name, query.search.as_deref())
        });
        let listed = listed.map(|(_, schema)| schema.clone()).collect();
        page(listed, |schema| schema.id.0, query)
    }

    pub fn schema_at(&self, scope: &Scope, wanted: &str) -> Option<StoredSchema> {
        let all = self.schemas.iter();
        let found = all.filter(|((owner, _), schema)| {
            owner == scope.as_str() && address(&schema.definition) == Some(wanted)
        });
        let newest = found.max_by_key(|(key, schema)| (schema.updated_at, *key));
        newest.map(|(_, schema)| schema.clone())
    }

    pub fn update_schema(&mut self, scope: &Scope, schema: StoredSchema) -> bool {
        let Some(kept) = self.schemas.get_mut(&owned(scope, schema.id)) else {
            return false;
        };
        let created_at = kept.created_at;
        *kept = StoredSchema {
            created_at,
            ..schema
        };
        true
    }

    pub fn delete_schema(&mut self, scope: &Scope, id: SchemaId) -> Deleted {
        match self.schemas.remove(&owned(scope, id)) {
            Some(_) => Deleted::Gone,
            None => Deleted::Missing,
        }
    }

    pub fn delete_schemas_before(&mut self, updated: Time, limit: u32) -> u32 {
        let old = self.schemas.iter();
        let old = old.filter(|(_, schema)| schema.updated_at < updated);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).collect();
        let gone = old.iter().take(limit as usize);
        gone.filter_map(|key| self.schemas.remove(key)).count() as u32
    }
}
