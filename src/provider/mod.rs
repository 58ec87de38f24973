//! Models that answer calls.

pub mod gate;
pub mod layout;
