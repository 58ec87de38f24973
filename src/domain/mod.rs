//! Values and functions without a runtime, socket, file, environment, clock or randomness.

pub mod document;
pub mod error;
pub mod evidence;
pub mod plan;
pub mod pointer;
pub mod usage;
