//! A job whose subtrees share one call.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::model::{Honest, Pace, Server, Wire};
use crate::process::{Process, load, median, model_of};

/// Fields of each part: eight light ones, a medium one and a heavy one.
const FIELDS: [usize; 10] = [4, 4, 4, 4, 4, 4, 4, 4, 8, 30];
/// Characters of a token, as the provider server counts.
const TOKEN: usize = 4;
/// Of the document.
const TOKENS: usize = 8_000;

fn field(part: usize, at: usize) -> String {
    format!("part_{part}_field_{at}")
}

fn schema() -> Value {
    let part = |(part, count): (usize, &usize)| {
        let fields = (0..*count).map(|at| (field(part, at), json!({"type": ["string", "null"]})));
        let fields: Map<_, _> = fields.collect();
        (
            format!("part_{part}"),
            json!({"type": "object", "properties": fields}),
        )
    };
    let parts: Map<_, _> = FIELDS.iter().enumerate().map(part).collect();
    json!({"type": "object", "properties": parts})
}

/// Another one each round: nobody has read it before.
fn document(round: usize) -> String {
    let mut text = format!("Report number {round} of the station on the northern pier\n");
    for (part, count) in FIELDS.iter().enumerate() {
        for at in 0..*count {
            text.push_str(&format!(
                "Part {part} field {at}: value {part}-{at} of {round}\n"
            ));
        }
    }
    let line = "The wind turned to the north in the evening and the gauge was read again.\n";
    while text.len() < TOKENS * TOKEN {
        text.push_str(line);
    }
    text
}

/// Tokens of an answer, and those until its first part is closed.
fn written(value: &Value) -> (f64, f64) {
    let (name, first) = value.as_object().unwrap().iter().next().unwrap();
    let characters = |text: String| text.chars().count();
    let first = 1 + characters(json!(name).to_string()) + 1 + characters(first.to_string());
    let all = characters(value.to_string());
    (all.div_ceil(TOKEN) as f64, first.div_ceil(TOKEN) as f64)
}

/// What the rounds came to, milliseconds and ratios.
#[derive(Default)]
struct Sums {
    first: Vec<f64>,
    total: Vec<f64>,
    ratio: Vec<f64>,
    /// From the request for a job to the call's arrival at the provider.
    before: Vec<f64>,
    /// From the provider's last byte to the job's last event.
    after: Vec<f64>,
}

pub async fn measure(rounds: usize) {
    let pace = Pace::usual();
    // The answerer does not know the form that so many fields take for Anthropic.
    for wire in [Wire::Gemini, Wire::OpenAi] {
        let server = Server::start();
        server.pace(pace);
        let said = Arc::new(Mutex::new(json!({})));
        let (told, honest) = (Arc::clone(&said), Honest::default());
        server.answers(move |asked| {
            let value = honest.answer(asked);
            told.lock().clone_from(&value);
            value
        });
        let process = Process::start(&server, true, None);
        let mut sums = Sums::default();
        for round in 0..rounds {
            let document = process.upload(document(round)).await;
            let body = json!({
                "document_id": document, "schema": schema(), "stream": true,
                "config": {
                    "model": model_of(wire), "per_key_attribution": true,
                    "splitter_configs": {"max_calls": 1},
                },
            });
            let seen = process.run(&body).await;
            assert_eq!(seen.end["status"], "completed", "{}", seen.end);
            assert_eq!(server.count(), round + 1, "one call a job");
            let asked = server.asked();
            let prompt = crate::model::speech::tokens(&asked[round].prompt());
            let usage = &seen.end["usage_metadata"];
            assert_eq!(usage["prompt_token_count"], json!(prompt));
            let (all, smallest) = written(&said.lock());
            let reading = pace.reading(prompt, 0);
            let first = seen.first.unwrap() - seen.asked;
            let total = seen.ended - seen.asked;
            let (at, ended) = server.spans()[round];
            let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
            let over =
                |time: Duration, tokens| millis(time) - millis(reading + pace.writing(tokens));
            sums.first.push(over(first, smallest));
            sums.total.push(over(total, all));
            sums.before.push(millis(at - seen.asked));
            sums.after.push(millis(seen.ended - ended));
            sums.ratio.push(millis(total) / millis(ended - at));
        }
        println!(
            "{wire:?}: first result {:+.1} ms over the ideal (worst {:+.1}), total {:+.1} ms; total over the call {:.4} (worst {:.4}); {:.1} ms before the call, {:.1} ms after it; prompt tokens 1.00x of one call; {rounds} rounds, load {}",
            median(&sums.first),
            sums.first.iter().copied().fold(f64::MIN, f64::max),
            median(&sums.total),
            median(&sums.ratio),
            sums.ratio.iter().copied().fold(f64::MIN, f64::max),
            median(&sums.before),
            median(&sums.after),
            load()
        );
    }
}
