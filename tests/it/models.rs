//! Models over the wire, as jobs ask them: against a provider server that plays by script.

mod arrays;
#[cfg(unix)]
mod bound;
mod bursts;
mod caches;
mod documents;
mod hedging;
mod jobs;
mod llama;
mod logprobs;
mod operations;
mod own_keys;
mod plans;
mod scenarios;

use std::sync::Arc;
use std::time::Duration;

use rivulet::engine::ports::Provider;
use rivulet::provider::client::Bounds;
use rivulet::provider::models::Models;
use rivulet::provider::server::{Options, Server};
use rivulet::provider::wire::{Key, Vendor};
use serde_json::json;

use crate::support::model::{self, KEY, Wire};

const WIRES: [Wire; 3] = [Wire::Gemini, Wire::OpenAi, Wire::Anthropic];

/// How clients call the model of each wire.
fn model_of(wire: Wire) -> &'static str {
    match wire {
        Wire::Gemini => "gemini-2.5-flash",
        Wire::OpenAi => "gpt-4o-mini",
        Wire::Anthropic => "claude-haiku-4-5",
    }
}

/// Short enough for a test that waits for them, long beside an answer of this machine.
fn bounds() -> Bounds {
    Bounds {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_millis(1_500),
        idle: Duration::from_millis(1_500),
        total: Duration::from_secs(60),
        ..Bounds::default()
    }
}

/// A provider that speaks to the vendor's stand-in.
fn provider(server: &model::Server, wire: Wire, stream: bool) -> Arc<Server> {
    opened(Options {
        stream,
        ..options(server, wire)
    })
}

/// The same, with room for one subtree of four fields in an answer, so that each is a call.
fn narrow(server: &model::Server, wire: Wire) -> Arc<Server> {
    let small = json!({ model_of(wire): {"output_tokens": 128} }).to_string();
    let models = Models::known().unwrap().with(&small).unwrap();
    rivulet::tls::install();
    Arc::new(Server::new(options(server, wire), Arc::new(models)).unwrap())
}

fn opened(options: Options) -> Arc<Server> {
    rivulet::tls::install();
    Arc::new(Server::new(options, Arc::new(Models::known().unwrap())).unwrap())
}

fn options(server: &model::Server, wire: Wire) -> Options {
    let (name, vendor) = match wire {
        Wire::Gemini => ("gemini", Vendor::Gemini),
        Wire::OpenAi => ("openai", Vendor::OpenAi),
        Wire::Anthropic => ("anthropic", Vendor::Anthropic),
    };
    Options {
        name: name.into(),
        vendor,
        base_url: Some(server.base(wire)),
        key: Some(Key::new(KEY).unwrap()),
        models: Vec::new(),
        stream: true,
        logprobs: None,
        hedging: false,
        bounds: bounds(),
    }
}

/// The same as the engine's only one.
fn only(provider: &Arc<Server>) -> Vec<Arc<dyn Provider>> {
    vec![Arc::clone(provider) as Arc<dyn Provider>]
}
