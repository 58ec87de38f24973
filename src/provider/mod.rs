//! Models that answer calls.

pub mod layout;
