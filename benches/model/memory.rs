//! The most memory that the server takes while an answer goes wrong.

use std::time::Duration;

use serde_json::json;

use crate::model::{Reply, Scenario, Server, Wire};
use crate::process::{Process, load, model_of, wide};

/// Longer than anything but a hang, of which no more is to be seen then.
const PATIENCE: Duration = Duration::from_secs(8);

pub async fn measure(names: &[String]) {
    let named = names
        .iter()
        .map(|name| Scenario::named(name).expect("a scenario"));
    let mut scenarios: Vec<_> = named.collect();
    if scenarios.is_empty() {
        scenarios = Scenario::ALL.to_vec();
    }
    let mut worst: Vec<(u64, String)> = Vec::new();
    for stream in [true, false] {
        for wire in Wire::ALL {
            let server = Server::start();
            let process = Process::start(&server, stream, None);
            // What the first jobs leave behind is no scenario's doing.
            for _ in 0..3 {
                play(&server, &process, wire, Scenario::Ok).await;
            }
            for scenario in &scenarios {
                let (before, _) = process.memory();
                process.forget_peak();
                play(&server, &process, wire, *scenario).await;
                let (_, peak) = process.memory();
                let name = format!(
                    "{} {wire:?} {}",
                    scenario.name(),
                    if stream { "streamed" } else { "whole" }
                );
                worst.push((peak.saturating_sub(before), name));
            }
        }
    }
    worst.sort_by_key(|(growth, _)| std::cmp::Reverse(*growth));
    println!(
        "a job at a time, {} cases; the ten that grow most, MiB; load {}",
        worst.len(),
        load()
    );
    for (growth, name) in worst.iter().take(10) {
        println!("{:>7.1} {name}", *growth as f64 / 1_024.0);
    }
}

async fn play(server: &Server, process: &Process, wire: Wire, scenario: Scenario) {
    server.always(Reply::from(scenario));
    let text = "Invoice number: 7\nTotal: 12.50 EUR\n".repeat(50);
    let document = process.upload(text).await;
    let body = json!({
        "document_id": document, "schema": wide(4), "stream": true,
        "config": {"model": model_of(wire), "n_max_retries": 1, "cache": "off"},
    });
    let _ = tokio::time::timeout(PATIENCE, process.run(&body)).await;
}
