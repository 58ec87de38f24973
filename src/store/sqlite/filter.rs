//! Which jobs a list shows, as SQL: only what is asked for, so that a plain list is counted in an
//! index alone.

use rusqlite::ToSql;

use crate::domain::filter::{JobFilter, NATIVE};
use crate::domain::id::Scope;
use crate::engine::ports::StoreError;
use crate::store::Search;

/// Pairs that are wanted and not among those of the job.
const MISSING: &str = "SELECT 1 FROM json_each(?) AS wanted WHERE NOT EXISTS ( \
     SELECT 1 FROM json_each(specs.spec, '$.metadata') AS held \
     WHERE held.key = wanted.key AND held.value = wanted.value)";

/// `FROM ... WHERE ...`, and its parameters.
pub struct Matching {
    pub sql: String,
    pub params: Vec<Box<dyn ToSql>>,
}

impl Matching {
    pub fn of(scope: &Scope, search: Search, filter: &JobFilter) -> Result<Self, StoreError> {
        let mut matching = Self {
            sql: "FROM jobs WHERE jobs.scope = ?1".into(),
            params: vec![Box::new(scope.as_str().to_owned())],
        };
        let statuses: Vec<_> = filter.statuses.iter().map(|status| status.name()).collect();
        if !statuses.is_empty() {
            let names = serde_json::to_string(&statuses)?;
            matching.and("jobs.status IN (SELECT value FROM json_each(?))", names);
        }
        if let Some(id) = filter.id {
            matching.and("jobs.id = ?", id.0.as_bytes().to_vec());
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
            " AND (instr(lower(hex(jobs.id)), {digits_at}) > 0 \
             OR EXISTS (SELECT 1 FROM specs WHERE specs.job_id = jobs.id \
             AND (instr(lower(document_name), {text_at}) > 0 \
             OR instr(lower(schema_name), {text_at}) > 0)))"
        );
    }

    /// What only the specification says.
    fn spec(&mut self, filter: &JobFilter) -> Result<(), StoreError> {
        let pairs = (!filter.metadata.is_empty()).then(|| serde_json::to_string(&filter.metadata));
        let dialect = format!("coalesce(spec ->> '$.dialect', '{NATIVE}') = ?");
        let missing = format!("NOT EXISTS ({MISSING})");
        let name = filter.name_contains.as_deref().map(str::to_ascii_lowercase);
        let clauses = [
            ("instr(lower(document_name), ?) > 0", name),
            ("spec ->> '$.config.model' = ?", filter.model.clone()),
            ("spec ->> '$.endpoint' = ?", filter.endpoint.clone()),
            (
                "spec ->> '$.schema_id' = ?",
                filter.schema_id.map(|id| id.to_string()),
            ),
            (&dialect, filter.dialect.clone()),
            (&missing, pairs.transpose()?),
        ];
        for (clause, value) in clauses {
            if let Some(value) = value {
                let whole = format!(
                    "EXISTS (SELECT 1 FROM specs WHERE specs.job_id = jobs.id AND {clause})"
                );
                self.and(&whole, value);
            }
        }
        Ok(())
    }

    /// `?` stands for the value.
    fn and(&mut self, clause: &str, value: impl ToSql + 'static) {
        let at = self.add(value);
        self.sql += &format!(" AND {}", clause.replace('?', &at));
    }

    fn add(&mut self, value: impl ToSql + 'static) -> String {
        self.params.push(Box::new(value));
        format!("?{}", self.params.len())
    }
}
