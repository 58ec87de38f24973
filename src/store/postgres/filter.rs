//! Which jobs a list shows, as SQL: only what is asked for, so that a plain list is counted in an
//! index alone.

use tokio_postgres::types::ToSql;

use crate::domain::filter::{JobFilter, NATIVE};
use crate::domain::id::Scope;
use crate::engine::ports::StoreError;
use crate::store::Search;

/// Pairs that are wanted and not among those of the job. As JSON in text: the binary kind takes no
/// NUL, which the rest of a specification may hold.
const MISSING: &str = "SELECT 1 FROM json_each_text(?::text::json) AS wanted \
     WHERE (specs.spec::json -> 'metadata' ->> wanted.key) IS DISTINCT FROM wanted.value";

/// What follows `WHERE`, and its parameters.
pub struct Matching {
    pub sql: String,
    pub params: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Matching {
    pub fn of(scope: &Scope, search: Search, filter: &JobFilter) -> Result<Self, StoreError> {
        let mut matching = Self {
            sql: "jobs.scope = $1".into(),
            params: vec![Box::new(scope.as_str().to_owned())],
        };
        if !filter.statuses.is_empty() {
            let names = filter
                .statuses
                .iter()
                .map(|status| status.name().to_owned());
            matching.and("jobs.status = ANY(?)", names.collect::<Vec<_>>());
        }
        if let Some(id) = filter.id {
            matching.and("jobs.id = ?", id.0);
        }
        if let Some(from) = filter.from {
            matching.and("jobs.created_ms >= ?", from.0);
        }
        if let Some(to) = filter.to {
            matching.and("jobs.created_ms < ?", to.0);
        }
        matching.search(search);
        matching.spec(filter)?;
        Ok(matching)
    }

    fn search(&mut self, search: Search) {
        let Some(text) = search.text else {
            return;
        };
        let text_at = self.add(text);
        let digits_at = self.add(search.digits);
        self.sql += &format!(
            " AND (strpos(replace(jobs.id::text, '-', ''), {digits_at}::text) > 0 \
             OR strpos(lower(specs.document_name COLLATE \"C\"), {text_at}) > 0 \
             OR strpos(lower(specs.schema_name COLLATE \"C\"), {text_at}) > 0)"
        );
    }

    /// What only the specification says.
    fn spec(&mut self, filter: &JobFilter) -> Result<(), StoreError> {
        let pairs = (!filter.metadata.is_empty()).then(|| serde_json::to_string(&filter.metadata));
        let dialect = format!("coalesce(specs.spec::json ->> 'dialect', '{NATIVE}') = ?");
        let missing = format!("NOT EXISTS ({MISSING})");
        let name = filter.name_contains.as_deref().map(str::to_ascii_lowercase);
        let clauses = [
            (
                "strpos(lower(specs.document_name COLLATE \"C\"), ?) > 0",
                name,
            ),
            (
                "specs.spec::json -> 'config' ->> 'model' = ?",
                filter.model.clone(),
            ),
            (
                "specs.spec::json ->> 'endpoint' = ?",
                filter.endpoint.clone(),
            ),
            (
                "specs.spec::json ->> 'schema_id' = ?",
                filter.schema_id.map(|id| id.to_string()),
            ),
            (&dialect, filter.dialect.clone()),
            (&missing, pairs.transpose()?),
        ];
        for (clause, value) in clauses {
            if let Some(value) = value {
                self.and(clause, value);
            }
        }
        Ok(())
    }

    /// `?` stands for the value.
    fn and(&mut self, clause: &str, value: impl ToSql + Send + Sync + 'static) {
        let at = self.add(value);
        self.sql += &format!(" AND {}", clause.replace('?', &at));
    }

    fn add(&mut self, value: impl ToSql + Send + Sync + 'static) -> String {
        self.params.push(Box::new(value));
        format!("${}", self.params.len())
    }
}
