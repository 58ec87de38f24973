//! The endpoints of the dialect.

use crate::domain::error::Error;
use crate::domain::job::JobView;
use crate::domain::operation::Operation;
use crate::http::members::wrong;

use super::NAME;

/// What a job can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Extract,
    Parse,
    Split,
    Classify,
    GenerateSchema,
    /// Extraction by a stored schema.
    ProjectExtract,
    // What later clients call the first four, with answers of their own form.
    Extractions,
    Parses,
    Splits,
    Classifications,
}

impl Endpoint {
    pub const ALL: [Self; 10] = [
        Self::Extract,
        Self::Parse,
        Self::Split,
        Self::Classify,
        Self::GenerateSchema,
        Self::ProjectExtract,
        Self::Extractions,
        Self::Parses,
        Self::Splits,
        Self::Classifications,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::Extract => "/v1/documents/extract",
            Self::Parse => "/v1/documents/parse",
            Self::Split => "/v1/documents/split",
            Self::Classify => "/v1/documents/classify",
            Self::GenerateSchema => "/v1/schemas/generate",
            Self::ProjectExtract => "/v1/projects/extract",
            Self::Extractions => "/v1/extractions",
            Self::Parses => "/v1/parses",
            Self::Splits => "/v1/splits",
            Self::Classifications => "/v1/classifications",
        }
    }

    /// All that are served.
    pub fn names() -> String {
        Self::ALL.map(Self::path).join(", ")
    }

    /// The endpoint that a job names at `pointer`, with or without `/v1`.
    pub fn named(pointer: &str, text: &str) -> Result<Self, Error> {
        Self::at(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let message = format!(
                "`{shown}` is not served here. Served are: {}.",
                Self::names()
            );
            wrong(pointer, &message)
        })
    }

    /// The endpoint of a path.
    pub fn at(path: &str) -> Option<Self> {
        // Where clients ask for streams.
        if path == "/v1/documents/extractions" {
            return Some(Self::Extract);
        }
        let mut all = Self::ALL.into_iter();
        all.find(|known| {
            let whole = known.path();
            whole == path || whole.strip_prefix("/v1") == Some(path)
        })
    }

    /// What a job was asked for; what comes nearest to it where that was in another dialect.
    pub fn of(view: &JobView) -> Self {
        let ours = view.spec.dialect.as_deref() == Some(NAME);
        let named = view.spec.endpoint.as_deref().filter(|_| ours);
        named
            .and_then(Self::at)
            .unwrap_or(match view.spec.operation {
                Operation::Extract => Self::Extract,
                Operation::Parse(_) => Self::Parse,
                Operation::Classify(_) => Self::Classify,
                Operation::Split(_) => Self::Split,
                Operation::GenerateSchema(_) => Self::GenerateSchema,
            })
    }

    pub fn extracts(self) -> bool {
        matches!(
            self,
            Self::Extract | Self::ProjectExtract | Self::Extractions
        )
    }
}
