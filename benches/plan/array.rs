//! A document that is mostly one table: eight small objects, a larger one, and 40 rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rivulet::app::App;
use rivulet::domain::event::Kind;
use rivulet::domain::metadata::Metadata;
use rivulet::engine::keys::Principal;
use rivulet::engine::{DocumentSource, Engine, Follow, JobRequest, News, SchemaSource, Wanted};
use rivulet::settings::{Settings, Sources};
use serde_json::{Map, Value, json};

use super::model::{Pace, Reader, Server};
use super::{Dice, MODEL, provider};

const ROWS: usize = 40;
const DOCUMENT_TOKENS: usize = 8_000;
/// Letters of a token, as the model counts.
const TOKEN: usize = 4;
const TIMES: usize = 3;

pub async fn measure() {
    rivulet::tls::install();
    let (text, truth) = document();
    let server = Server::start();
    server.forgetful();
    server.pace(Pace::usual());
    let reader = Reader::of(&truth, "article");
    server.answers(move |asked| reader.answer(asked));
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
    let schema = schema();
    let ways = [
        (
            "one call",
            json!({"splitter_configs": {"max_calls": 1}, "enable_agentic_array_extraction": false}),
        ),
        (
            "fast, 10 at a time",
            json!({"splitter_configs": {"packing": "fast"}, "max_num_concurrent_requests": 10}),
        ),
        ("fast", json!({"splitter_configs": {"packing": "fast"}})),
        ("cheap", json!({"splitter_configs": {"packing": "cheap"}})),
    ];
    // The pace and the sizes are learned.
    for (_, config) in &ways {
        run(&app.engine, &schema, &text, &truth, config).await;
    }
    let mut whole = None;
    for (name, config) in &ways {
        let mut runs = Vec::new();
        for _ in 0..TIMES {
            runs.push(run(&app.engine, &schema, &text, &truth, config).await);
        }
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let median = &runs[TIMES / 2];
        let mut first: Vec<f64> = runs.iter().map(|run| run.first).collect();
        first.sort_by(f64::total_cmp);
        let ideal = ideal(median.prompt / median.requests, &truth);
        let one = *whole.get_or_insert((median.seconds, median.prompt));
        println!(
            "{name:>18}: {:>5.2} s, {:.3} of one call; {:>6} prompt tokens, {:.2} of one call; {} requests; first result {:.3} s, {:+.1} ms to the ideal",
            median.seconds,
            median.seconds / one.0,
            median.prompt,
            median.prompt as f64 / one.1 as f64,
            median.requests,
            first[TIMES / 2],
            (first[TIMES / 2] - ideal) * 1e3,
        );
    }
    app.stop().await;
}

struct Run {
    seconds: f64,
    first: f64,
    prompt: u64,
    requests: u64,
}

/// Delay, the prompt read, and the smallest object written.
fn ideal(prompt: u64, truth: &Value) -> f64 {
    let pace = Pace::usual();
    let lengths = (0..8).map(|at| object(truth, &format!("light_{at}")).to_string().len());
    let letters = lengths.min().unwrap_or_default() + "{\"light_0\":".len();
    let written = Duration::from_secs_f64((letters / TOKEN) as f64 / pace.write);
    (pace.reading(prompt, 0) + written).as_secs_f64()
}

async fn run(engine: &Engine, schema: &Value, text: &str, truth: &Value, config: &Value) -> Run {
    let mut config = config.clone();
    config["model"] = json!(MODEL);
    config["cache"] = json!("off");
    let request = JobRequest {
        document: DocumentSource::Inline {
            name: "table.txt".into(),
            // Nobody has read this one before.
            bytes: Bytes::from(format!("Report {}\n{text}", uuid::Uuid::new_v4())),
        },
        schema: SchemaSource::Inline(schema.clone()),
        config: Some(config),
        callback_url: None,
        callback_secret: None,
        metadata: Metadata::default(),
        dialect: None,
        endpoint: None,
        options: None,
    };
    let caller = Principal::local();
    let started = Instant::now();
    let view = engine.submit(&caller, request).await.unwrap();
    let mut first = None;
    if let Follow::Stream(mut follower) = engine.follow(&caller.scope, view.id, None).await.unwrap()
    {
        while let News::Page(page) = follower.next().await.unwrap() {
            if page
                .events()
                .iter()
                .any(|event| event.kind == Kind::SubtreeResult)
            {
                first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let result = engine.result(&caller.scope, view.id, Wanted::Final).await;
    let result = result.unwrap();
    assert!(!result.view.is_partial(), "{:?}", result.view.error);
    assert_eq!(result.results["items"], truth["items"]);
    Run {
        seconds,
        first: first.unwrap(),
        prompt: result.view.usage.prompt_token_count,
        requests: result.view.usage.request_count,
    }
}

fn schema() -> Value {
    let mut parts = Map::new();
    for at in 0..8 {
        parts.insert(format!("light_{at}"), fields(&format!("light_{at}"), 4));
    }
    parts.insert("medium".into(), fields("medium", 12));
    let row = json!({"type": "object", "properties": {
        "article": {"type": "string"}, "description": {"type": "string"},
        "quantity": {"type": "integer"}, "price": {"type": "number"}}});
    parts.insert("items".into(), json!({"type": "array", "items": row}));
    json!({"type": "object", "properties": parts})
}

fn fields(of: &str, count: usize) -> Value {
    let fields = (0..count).map(|at| (format!("{of}_field_{at}"), json!({"type": "string"})));
    json!({"type": "object", "properties": fields.collect::<Map<_, _>>()})
}

fn object(truth: &Value, name: &str) -> Value {
    let members = truth.as_object().unwrap().iter();
    let own = members.filter(|(key, _)| key.starts_with(&format!("{name}_field")));
    Value::Object(
        own.map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// The text, and what is true of it.
fn document() -> (String, Value) {
    let mut truth = Map::new();
    let mut text = String::from("Delivery report\n");
    let names = (0..8).map(|at| (format!("light_{at}"), 4));
    for (name, count) in names.chain([("medium".to_owned(), 12)]) {
        for at in 0..count {
            let key = format!("{name}_field_{at}");
            let value = format!("value {at} of {name} as agreed");
            text.push_str(&format!("{key}: {value}\n"));
            truth.insert(key, json!(value));
        }
    }
    let table: String = (1..=ROWS).map(|number| row(number).0).collect();
    let half = (DOCUMENT_TOKENS * TOKEN - text.len() - table.len()) / 2;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    prose(&mut text, half, &mut dice);
    text.push_str(
        "Article   Description                                      Quantity      Price\n",
    );
    text.push_str(&table);
    text.push('\n');
    prose(&mut text, half, &mut dice);
    let items: Vec<_> = (1..=ROWS).map(|number| row(number).1).collect();
    truth.insert("items".into(), Value::Array(items));
    (text, Value::Object(truth))
}

/// Sentences of different lengths.
fn prose(text: &mut String, letters: usize, dice: &mut Dice) {
    let end = text.len() + letters;
    while text.len() < end {
        for _ in 0..6 + dice.below(9) {
            text.push_str(dice.word());
            text.push(' ');
        }
        text.push_str(if dice.below(3) == 0 {
            "is due.\n"
        } else {
            "and "
        });
    }
    text.push('\n');
}

fn row(number: usize) -> (String, Value) {
    let words = ["steel", "brass", "nylon", "copper", "rubber"];
    let described = format!(
        "{} washer for pump number {number} of the plant",
        words[number % 5]
    );
    let (article, quantity, price) = (format!("AR-{number:04}"), number * 3, number as f64 + 0.5);
    let line = format!("{article}   {described:<48}{quantity:>9} {price:>10.2}\n");
    let value =
        json!({"article": article, "description": described, "quantity": quantity, "price": price});
    (line, value)
}
