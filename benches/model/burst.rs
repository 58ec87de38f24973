//! Jobs of more calls than the key takes at once.

use std::time::Duration;

use serde_json::json;

use crate::model::limit::Style;
use crate::model::{Limit, Server, Wire};
use crate::process::{Process, load, median, model_of, wide};

const CALLS: usize = 20;
const AT_ONCE: f64 = 4.0;
const A_SECOND: f64 = 5.0;
/// What is sent within this after a refusal may have been on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

fn early(server: &Server) -> usize {
    let refusals = server.refusals();
    let is_early = |at| {
        let too_soon = |(sent, until): &(_, _)| at > *sent + ON_ITS_WAY && at < *until;
        refusals.iter().any(too_soon)
    };
    let asked = server.asked();
    asked.iter().filter(|asked| is_early(asked.at)).count()
}

pub async fn measure(jobs: usize) {
    let ideal = (CALLS as f64 - AT_ONCE) / A_SECOND;
    for (wire, style) in [
        (Wire::Gemini, Style::Body),
        (Wire::OpenAi, Style::Millis),
        (Wire::Anthropic, Style::Seconds),
        (Wire::OpenAi, Style::None),
    ] {
        let server = Server::start();
        let process = Process::start(&server, true, Some(128));
        server.limit(Limit::new(AT_ONCE, A_SECOND, style));
        let document = process.upload("Invoice number: 7\n".into()).await;
        let body = json!({
            "document_id": document, "schema": wide(CALLS), "stream": true,
            "config": {
                "model": model_of(wire), "max_num_concurrent_requests": 20, "cache": "off",
                "splitter_configs": {"max_tokens_per_call": 16},
            },
        });
        let (mut ratios, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..=jobs {
            let before = server.counts();
            let seen = process.run(&body).await;
            assert_eq!(seen.end["status"], "completed", "{}", seen.end);
            let after = server.counts();
            assert_eq!(
                after.calls - after.refused - before.calls + before.refused,
                CALLS as u64
            );
            refused.push(after.refused - before.refused);
            ratios.push((seen.ended - seen.asked).as_secs_f64() / ideal);
            // The bucket is full again.
            tokio::time::sleep(Duration::from_secs_f64(AT_ONCE / A_SECOND + 0.2)).await;
        }
        println!(
            "{wire:?}, waits told as {style:?}: first job {:.3} of the ideal, {} refused; {jobs} more: median {:.3}, worst {:.3}, {} refused in all; {} too early; load {}",
            ratios[0],
            refused[0],
            median(&ratios[1..]),
            ratios[1..].iter().copied().fold(0.0, f64::max),
            refused[1..].iter().sum::<u64>(),
            early(&server),
            load()
        );
    }
}
