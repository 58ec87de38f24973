//! Models that answer calls.

pub mod answer;
pub mod anthropic;
pub mod client;
pub mod gate;
pub mod gemini;
pub mod layout;
pub mod lower;
pub mod models;
pub mod openai;
pub mod server;
pub mod wire;
