//! What is said of long arrays before they are read.

use serde_json::{Value, json};

use super::{app, body, ran, read_by, request, usual};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::Server;

/// Tokens of prompts and answers: at least, likely, at most.
fn tokens(plan: &Value) -> [f64; 3] {
    ["low", "likely", "high"].map(|bound| {
        let part = |name: &str| plan["estimate"][name][bound].as_f64().unwrap();
        part("prompt_tokens") + part("answer_tokens")
    })
}

/// What the job was thought to take, and what it took.
async fn told_and_was(app: &TestApp, body: &Value) -> ([f64; 3], f64) {
    let ran = ran(app, body).await;
    let was = ran.end["usage_metadata"]["total_token_count"].as_f64();
    (tokens(&ran.results["metadata"]["plan"]), was.unwrap())
}

fn only_lists(mut body: Value) -> Value {
    let properties = body["schema"]["properties"].as_object_mut().unwrap();
    properties.retain(|_, property| property["type"] == "array");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_code_will_read_is_forecast_as_its_sample_and_at_most_as_all_its_windows() {
    let document = Document::make(Spec::plain(1, 400));
    let server = Server::start();
    read_by(&server, usual(&document));
    let app = app(&server).await;
    let by_model = only_lists(body(&app, &document, json!({"cache": "off"})).await);
    let (_, whole) = told_and_was(&app, &by_model).await;
    let by_code = only_lists(request(&app, &document, json!({"cache": "off"})).await);
    let ([low, likely, high], was) = told_and_was(&app, &by_code).await;
    assert!(was < whole / 5.0, "{was} {whole}");
    assert!(likely < whole / 5.0, "{likely} of {whole}");
    assert!(low <= was && was <= high, "{low} {was} {high}");
    assert!(high > whole / 2.0, "{high} of {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_read_once_size_those_of_the_next_document() {
    let document = Document::make(Spec::plain(1, 300));
    let server = Server::start();
    read_by(&server, usual(&document));
    let app = app(&server).await;
    let of_one = body(&app, &document, json!({"cache": "off"})).await;
    told_and_was(&app, &of_one).await;
    let other = Document::make(Spec::plain(2, 500));
    read_by(&server, usual(&other));
    let of_other = body(&app, &other, json!({"cache": "off"})).await;
    let ([low, likely, high], was) = told_and_was(&app, &of_other).await;
    assert!((likely / was - 1.0).abs() < 0.1, "{likely} {was}");
    assert!(low <= was && was <= high, "{low} {was} {high}");
}
