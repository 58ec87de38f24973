//! A provider server that plays by script: Gemini, OpenAI and Anthropic on one port.
//!
//! | file | what |
//! |---|---|
//! | `server` | the socket, the script, the record of what was asked |
//! | `asked` | a request as the model sees it: schema, document, task |
//! | `scenario` | every way an answer can go, as data |
//! | `reply` | one answer: what is said, and in which manner it is sent |
//! | `speech`, `failure` | what a model says and how a vendor refuses, in no wire's words |
//! | `gemini`, `openai`, `anthropic` | the same in each wire's words |
//! | `send` | a reply as timed pieces of bytes |
//! | `pace`, `limit` | how fast a model reads and writes, how often it may be asked |
//! | `honest` | a model that fills any schema from the document |
//! | `reader` | a model that reads the rows it is shown, and cuts its answers off |
#![allow(
    dead_code,
    unused_imports,
    reason = "shared by test and benchmark targets, of which none uses all"
)]

pub mod anthropic;
pub mod asked;
pub mod failure;
pub mod gemini;
pub mod honest;
pub mod limit;
pub mod openai;
pub mod pace;
pub mod reader;
pub mod reply;
pub mod scenario;
pub mod send;
pub mod server;
pub mod speech;

pub use asked::{Asked, Wire};
pub use failure::{CANARY, Failure, Hint};
pub use honest::Honest;
pub use limit::Limit;
pub use pace::Pace;
pub use reader::Reader;
pub use reply::{Hold, Reply};
pub use scenario::Scenario;
pub use server::{KEY, Server};
pub use speech::{Ending, Part, Speech};
