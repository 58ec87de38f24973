//! Rivulet: a streaming structured-extraction server.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod blob;
pub mod document;
pub mod domain;
pub mod engine;
pub mod http;
pub mod provider;
pub mod store;
