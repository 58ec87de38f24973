//! Tests of the whole, as a client sees it, of each port's implementations, and of the walls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and may say what it saw"
)]
#![allow(
    clippy::pedantic,
    reason = "tables of cases are long, and read better than what the lints ask for"
)]

mod architecture;
mod backup;
mod batch;
mod blob;
mod bucket;
mod cli;
mod clients;
#[cfg(unix)]
mod disk;
mod engine;
mod evidence;
mod examples;
#[cfg(unix)]
mod fault;
mod fuzz;
mod http;
mod kill;
mod kit;
mod layout;
mod licences;
#[path = "../kit/long/mod.rs"]
mod long;
mod model;
mod models;
mod nodes;
mod pack;
mod plan;
mod readme;
mod rows;
mod simulation;
mod slow;
mod stop;
mod store;
mod storm;
mod support;
mod tables;
#[cfg(unix)]
mod webhook;
