//! Models over the wire, as jobs ask them: against a provider server that plays by script.

mod documents;
mod jobs;
mod llama;
mod logprobs;
mod scenarios;

use std::sync::Arc;
use std::time::Duration;

use rivulet::engine::ports::Provider;
use rivulet::provider::client::Bounds;
use rivulet::provider::models::Models;
use rivulet::provider::server::{Options, Server};
use rivulet::provider::wire::{Key, Vendor};

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
    told(server, wire, stream, None)
}

/// The same, whose models are asked how likely their tokens were, or are not.
fn told(server: &model::Server, wire: Wire, stream: bool, logprobs: Option<bool>) -> Arc<Server> {
    rivulet::tls::install();
    let (name, vendor) = match wire {
        Wire::Gemini => ("gemini", Vendor::Gemini),
        Wire::OpenAi => ("openai", Vendor::OpenAi),
        Wire::Anthropic => ("anthropic", Vendor::Anthropic),
    };
    let options = Options {
        name: name.into(),
        vendor,
        base_url: Some(server.base(wire)),
        key: Some(Key::new(KEY).unwrap()),
        models: Vec::new(),
        stream,
        logprobs,
        hedging: false,
        bounds: bounds(),
    };
    Arc::new(Server::new(options, Arc::new(Models::known().unwrap())).unwrap())
}

/// The same as the engine's only one.
fn only(provider: &Arc<Server>) -> Vec<Arc<dyn Provider>> {
    vec![Arc::clone(provider) as Arc<dyn Provider>]
}
