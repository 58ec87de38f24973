//! Rivulet: a streaming structured-extraction server.
//!
//! | module | what, in reading order |
//! |---|---|
//! | [`domain`] | values and functions: schema, plan, events, the job as a fold of them, evidence |
//! | [`engine`] | runs jobs: claims, calls, the journal, followers; its ports say what it needs |
//! | [`http`] | the web server: wire to domain and back |
//! | [`provider`] | models, and the embedded extractor |
//! | [`document`] | readers: bytes to pages of words |
//! | [`store`] | jobs, logs, documents and schemas on disk |
//! | [`blob`] | files on disk |
//! | [`settings`] | everything an operator can set |
//! | [`telemetry`] | logs |
//! | [`tls`] | the cryptography of connections to elsewhere |
//! | [`webhook`] | webhooks on the wire: who may be dialled, and one try at a delivery |
//! | [`app`] | the composition root: puts the parts together |
//! | [`cli`] | the commands |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod blob;
pub mod cli;
pub mod document;
pub mod domain;
pub mod engine;
pub mod http;
pub mod provider;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod webhook;
