//! What the engine needs from outside. Small object-safe traits, owned by their user.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::document::Document;
use crate::domain::error::{Error, Fault};
use crate::domain::evidence::Attributions;
use crate::domain::plan::Plan;
use crate::domain::usage::Usage;

/// Reads files. Runs on a blocking thread; never fetches anything the bytes name.
pub trait Reader: Send + Sync {
    /// The document in `bytes`, its kind told by the bytes and not by the name.
    ///
    /// Errors carry `unsupported_media_type`, `document_corrupt`, `document_empty`,
    /// `document_without_text`, `document_too_complex` or `password_required`.
    fn read(&self, bytes: &[u8]) -> Result<Document, Error>;
}

/// A model that can be named in `config.model`, and what it can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    pub display_name: String,
    pub description: String,
    pub provider: String,
    /// Names of the `config` fields that change nothing with this model.
    pub ignores: Vec<String>,
}

/// One request to a model: one or more subtrees of one document.
#[derive(Debug, Clone)]
pub struct Call {
    pub model: String,
    pub document: Arc<Document>,
    pub plan: Arc<Plan>,
    /// Indices into `plan.subtrees`, what this call asks for.
    pub subtrees: Vec<usize>,
    pub additional_instructions: Option<String>,
    pub temperature: Option<f64>,
    pub seed: Option<i64>,
    pub enable_thinking: bool,
    pub per_key_attribution: bool,
}

/// A piece of an answer, in the order a provider gives them.
#[derive(Debug, Clone)]
pub enum Answer {
    /// One subtree is whole. Attribution keys are relative to `value`.
    Subtree {
        index: usize,
        value: Value,
        attributions: Attributions,
    },
    /// What the call cost; at most once, last.
    Usage(Usage),
}

/// Why a call or one of its subtrees failed. The message is ours and safe to show.
#[derive(Debug, Clone)]
pub struct CallError {
    pub fault: Fault,
    pub message: String,
    /// The least wait a provider asked for, milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Something that answers calls. Dropping the stream cancels the call.
pub trait Provider: Send + Sync {
    fn models(&self) -> Vec<Model>;
    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>>;
}
