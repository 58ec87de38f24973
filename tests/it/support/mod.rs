//! The test kit: the real server with parts that can be scripted, and a client of it.

pub mod app;
pub mod clock;
pub mod provider;
pub mod schemas;
pub mod sse;
pub mod store;
