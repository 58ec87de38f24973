//! Tests of the whole, as a client sees it, of each port's implementations, and of the walls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Seeds are printed, so that a failure can be had again.
#![allow(clippy::print_stdout)]

mod architecture;
mod blob;
mod cli;
mod engine;
mod http;
mod kill;
mod licences;
mod plan;
mod readme;
mod stop;
mod store;
mod support;
