//! What a plan says against what its job takes: time and tokens of random schemas and documents,
//! with a model of fixed delay, reading and writing rates and a cache of prefixes.
//!
//! `cargo bench --bench plan [-- PAIRS]` prints for each pair the calls, and how far the forecast
//! was off: for a schema that was never seen (its answers are guessed), and for another document
//! of the same schema (they were measured). At the end of a line: whether the truth lay within the
//! range of the forecast, and what of the time was no call's, before the first and after the last.
//!
//! `cargo bench --bench plan -- array` prints what a document of 8,000 tokens takes that is mostly
//! one table: in one call, and as `fast` and `cheap` go about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::pedantic,
    reason = "a tool of the tests"
)]

#[path = "plan/array.rs"]
mod array;
#[path = "../tests/it/support/model/mod.rs"]
mod model;

use std::sync::Arc;

use bytes::Bytes;
use model::{Honest, KEY, Pace, Server, Wire};
use rivulet::app::App;
use rivulet::domain::cost::{Span, Start};
use rivulet::domain::metadata::Metadata;
use rivulet::engine::keys::Principal;
use rivulet::engine::{DocumentSource, Engine, Follow, JobRequest, News, SchemaSource, Wanted};
use rivulet::provider::client::Bounds;
use rivulet::provider::models::Models;
use rivulet::provider::server::{Options, Server as Provider};
use rivulet::provider::wire::{Key, Vendor};
use rivulet::settings::{Settings, Sources};
use serde_json::{Map, Value, json};

const MODEL: &str = "gemini-2.5-flash";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "array") {
        return runtime.block_on(array::measure());
    }
    let pairs = arguments.iter().find_map(|argument| argument.parse().ok());
    runtime.block_on(measure(pairs.unwrap_or(50)));
}

async fn measure(pairs: u64) {
    rivulet::tls::install();
    let server = Server::start();
    server.pace(Pace::usual());
    // Made from the schema alone: to search a long document for every leaf takes the model's one
    // thread so long that calls which come together wait for each other.
    let honest = Honest::default();
    server.answers(move |asked| {
        let schema = asked.schema().unwrap_or_default();
        honest.fill(&schema, "")
    });
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        ("bind", "127.0.0.1:0".to_owned()),
        ("data", folder.path().display().to_string()),
        ("default_model", MODEL.to_owned()),
    ];
    let settings = Settings::load(Sources {
        flags: flags.into_iter().collect(),
        ..Sources::default()
    })
    .unwrap();
    let app = App::builder(settings)
        .providers(vec![Arc::new(provider(&server))])
        .embedded()
        .unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // The pace is learned from a few calls of different lengths.
    for letters in [2_000, 60_000, 20_000] {
        let schema = schema(&mut dice);
        run(&app.engine, &server, &schema, letters, &mut dice).await;
    }
    let (mut fresh, mut known) = (Errors::default(), Errors::default());
    for pair in 0..pairs {
        let schema = schema(&mut dice);
        let letters = 2_000 + dice.below(80_000);
        let first = run(&app.engine, &server, &schema, letters, &mut dice).await;
        let letters = 2_000 + dice.below(80_000);
        let second = run(&app.engine, &server, &schema, letters, &mut dice).await;
        println!(
            "{pair:>3}: {:>2} calls, {:>6} tokens, {:>5.2} s | unseen: time {:>+6.1} %, tokens {:>+6.1} % | seen: time {:>+6.1} %, tokens {:>+6.1} % | {}, {}; {:?}, {:.0} and {:.0} ms",
            second.calls,
            second.tokens,
            second.seconds,
            first.time_off,
            first.tokens_off,
            second.time_off,
            second.tokens_off,
            first.place(),
            second.place(),
            second.start,
            second.before,
            second.after
        );
        fresh.add(&first);
        known.add(&second);
    }
    println!("unseen schema: {}", fresh.summary());
    println!("seen schema:   {}", known.summary());
    app.stop().await;
}

fn provider(server: &Server) -> Provider {
    let options = Options {
        name: "gemini".into(),
        vendor: Vendor::Gemini,
        base_url: Some(server.base(Wire::Gemini)),
        key: Some(Key::new(KEY).unwrap()),
        models: Vec::new(),
        stream: true,
        logprobs: None,
        hedging: false,
        bounds: Bounds::default(),
    };
    Provider::new(options, Arc::new(Models::known().unwrap())).unwrap()
}

/// How far a forecast was off, in hundredths.
struct Run {
    calls: u64,
    tokens: f64,
    seconds: f64,
    time_off: f64,
    tokens_off: f64,
    time_is_inside: bool,
    tokens_are_inside: bool,
    start: Start,
    /// From the request for the job to its first call, and from its last call to its end,
    /// milliseconds.
    before: f64,
    after: f64,
}

impl Run {
    fn place(&self) -> &'static str {
        match (self.time_is_inside, self.tokens_are_inside) {
            (true, true) => "inside",
            (false, true) => "time outside",
            (true, false) => "tokens outside",
            (false, false) => "both outside",
        }
    }
}

#[derive(Default)]
struct Errors {
    inside: (usize, usize),
    time: Vec<f64>,
    tokens: Vec<f64>,
}

impl Errors {
    fn add(&mut self, run: &Run) {
        self.time.push(run.time_off.abs());
        self.tokens.push(run.tokens_off.abs());
        self.inside.0 += usize::from(run.time_is_inside);
        self.inside.1 += usize::from(run.tokens_are_inside);
    }

    fn summary(&mut self) -> String {
        let of = |name: &str, errors: &mut Vec<f64>| {
            errors.sort_by(f64::total_cmp);
            let within = errors.iter().filter(|error| **error <= 10.0).count();
            format!(
                "{name} within 10 % in {within} of {}, median {:.1} %, worst {:.1} %",
                errors.len(),
                errors[errors.len() / 2],
                errors[errors.len() - 1]
            )
        };
        let time = of("time", &mut self.time);
        let tokens = of("tokens", &mut self.tokens);
        let (of_time, of_tokens) = self.inside;
        format!("{time}; {tokens}; within the range: time {of_time}, tokens {of_tokens}")
    }
}

async fn run(
    engine: &Engine,
    server: &Server,
    schema: &Value,
    letters: u64,
    dice: &mut Dice,
) -> Run {
    let aims = ["fast", "balanced", "cheap"];
    let aim = aims[dice.below(3) as usize];
    let request = JobRequest {
        document: DocumentSource::Inline {
            name: "bench.txt".into(),
            bytes: Bytes::from(document(letters, dice)),
        },
        schema: SchemaSource::Inline(schema.clone()),
        config: Some(json!({
            "model": MODEL, "cache": "off", "splitter_configs": {"packing": aim},
        })),
        callback_url: None,
        callback_secret: None,
        metadata: Metadata::default(),
        dialect: None,
        endpoint: None,
        options: None,
    };
    let caller = Principal::local();
    let (known, asked) = (server.spans().len(), tokio::time::Instant::now());
    let view = engine.submit(&caller, request).await.unwrap();
    if let Follow::Stream(mut follower) = engine.follow(&caller.scope, view.id, None).await.unwrap()
    {
        while let News::Page(_) = follower.next().await.unwrap() {}
    }
    let ended = tokio::time::Instant::now();
    let result = engine.result(&caller.scope, view.id, Wanted::Final).await;
    let view = result.unwrap().view;
    assert!(!view.is_partial(), "{:?}", view.error);
    let estimate = view.spec.forecast.as_ref().unwrap().estimate;
    let seconds = view.ended_at.unwrap().since(view.created_at) as f64 / 1e3;
    let tokens = view.usage.total_token_count as f64;
    let off = |told: f64, was: f64| (told / was - 1.0) * 100.0;
    let is_inside = |span: &Span, was: f64| (span.low..=span.high).contains(&was);
    let spans = server.spans();
    let first = spans[known..].iter().map(|(at, _)| *at).min().unwrap();
    let last = spans[known..].iter().map(|(_, end)| *end).max().unwrap();
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    Run {
        calls: estimate.calls,
        tokens,
        seconds,
        time_off: off(estimate.seconds.likely, seconds),
        tokens_off: off(estimate.tokens().likely, tokens),
        time_is_inside: is_inside(&estimate.seconds, seconds),
        tokens_are_inside: is_inside(&estimate.tokens(), tokens),
        start: estimate.start,
        before: millis(first - asked),
        after: millis(ended.saturating_duration_since(last)),
    }
}

/// Objects of many sizes, some of them lists, some of them deep.
fn schema(dice: &mut Dice) -> Value {
    let parts = 2 + dice.below(9);
    let parts = (0..parts).map(|at| {
        let fields = 4 + dice.below(14);
        let object = object(fields, dice);
        let part = match dice.below(4) {
            0 => json!({"type": "array", "items": object}),
            1 => json!({"type": "object", "properties": {"inner": object, "note": {"type": "string"}}}),
            _ => object,
        };
        (format!("part_{at}_{}", dice.word()), part)
    });
    let parts: Map<String, Value> = parts.collect();
    json!({"type": "object", "properties": parts})
}

fn object(fields: u64, dice: &mut Dice) -> Value {
    let fields = (0..fields).map(|at| {
        let kind = ["string", "number", "integer", "boolean"][dice.below(4) as usize];
        let mut field = json!({"type": kind});
        if dice.below(3) == 0 {
            let words: Vec<_> = (0..6).map(|_| dice.word()).collect();
            field["description"] = json!(words.join(" "));
        }
        (format!("{}_{at}", dice.word()), field)
    });
    let fields: Map<String, Value> = fields.collect();
    json!({"type": "object", "properties": fields})
}

fn document(letters: u64, dice: &mut Dice) -> String {
    let mut text = String::new();
    while (text.len() as u64) < letters {
        for _ in 0..10 {
            text.push_str(dice.word());
            text.push(' ');
        }
        text.push_str(&format!("{}\n", dice.below(100_000)));
    }
    text
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 12] = [
            "amount", "party", "period", "notice", "account", "delivery", "interest", "number",
            "address", "insured", "vehicle", "balance",
        ];
        WORDS[self.below(12) as usize]
    }
}
