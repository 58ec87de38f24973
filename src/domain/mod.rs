//! Values and functions without a runtime, socket, file, environment, clock or randomness.

pub mod attachment;
pub mod config;
pub mod cost;
pub mod document;
pub mod error;
pub mod event;
pub mod evidence;
pub mod excerpt;
pub mod explain;
pub mod id;
pub mod job;
pub mod merge;
pub mod pack;
pub mod page;
pub mod plan;
pub mod pointer;
pub mod prompt;
pub mod repair;
pub mod retry;
pub mod schema;
pub mod shape;
pub mod status;
pub mod time;
pub mod usage;
pub mod value;
