//! The test kit: the real server with parts that can be scripted, and a client of it.

pub mod app;
pub mod browser;
#[cfg(unix)]
pub mod child;
pub mod clients;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod line;
pub mod model;
pub mod openapi;
pub mod pdf;
#[cfg(unix)]
pub mod points;
pub mod postgres;
pub mod provider;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod s3;
pub mod schemas;
pub mod sse;
pub mod store;
