//! Runs jobs.

pub mod ports;
