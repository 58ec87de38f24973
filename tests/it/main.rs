//! Everything that is tested through the crate's public face, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blob;
mod store;
