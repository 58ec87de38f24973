//! Models that answer calls.

pub mod answer;
pub mod layout;
pub mod lower;
