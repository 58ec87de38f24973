//! Models that answer calls.

pub mod layout;
pub mod lower;
