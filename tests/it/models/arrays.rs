//! Long arrays: read in windows by a model that cuts its answers off and leaves out the middle of
//! long ones.

use serde_json::{Value, json};

use super::{model_of, only, provider};
use crate::long::{Document, Spec};
use crate::support::app::TestApp;
use crate::support::model::{Reader, Server, Wire};

const WIRE: Wire = Wire::Gemini;

/// Tokens after which the model's answers are cut off, and rows of which it writes all.
const CUT: u64 = 6_000;
const DROPS: usize = 250;

async fn app(server: &Server) -> TestApp {
    let provider = provider(server, WIRE, true);
    TestApp::start()
        .set("default_model", model_of(WIRE))
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

fn reading(server: &Server, document: &Document) {
    let reader = Reader::of(&document.truth(), "article")
        .cut(CUT)
        .dropping_above(DROPS);
    server.script(move |asked| Some(reader.reply(asked)));
}

async fn body(app: &TestApp, document: &Document, config: Value) -> Value {
    let uploaded = app.upload("delivery.txt", document.text()).await;
    json!({"document_id": uploaded.body["document_id"], "schema": document.schema(), "config": config})
}

/// Rows of the truth that were read in their order, of all in the truth and of all that were read.
fn recall_and_precision(read: &Value, truth: &Value) -> (f64, f64) {
    let (read, truth) = (read.as_array().unwrap(), truth.as_array().unwrap());
    // The longest list that both have in order.
    let mut best = vec![0; truth.len() + 1];
    for row in read {
        let mut left = 0;
        for (at, expected) in truth.iter().enumerate() {
            let above = best[at + 1];
            best[at + 1] = if row == expected {
                left + 1
            } else {
                above.max(best[at])
            };
            left = above;
        }
    }
    let same = f64::from(best[truth.len()]);
    (
        same / truth.len().max(1) as f64,
        same / read.len().max(1) as f64,
    )
}

fn array<'a>(results: &'a Value, path: &str) -> &'a Value {
    let arrays = results["metadata"]["arrays"].as_array().unwrap();
    arrays.iter().find(|array| array["path"] == path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_rows_are_all_there_in_order_and_the_verdict_says_how_it_is_known() {
    let document = Document::make(Spec::plain(1, 400));
    let server = Server::start();
    reading(&server, &document);
    let app = app(&server).await;
    let body = body(&app, &document, json!({})).await;
    let job = app.submit(&body).await;
    let frames = app.follow(&job, None).await.rest().await;
    let end = frames.last().unwrap().payload();
    assert_eq!(end["status"], "completed", "{end}");
    let results = app.results(&job).await.body;
    let truth = document.truth();
    let (read, expected) = (&results["results"]["items"], &truth["items"]);
    let found = array(&results, "/items");
    println!("{found}");
    println!("calls {} usage {}", server.count(), end["usage_metadata"]);
    assert_eq!(recall_and_precision(read, expected), (1.0, 1.0), "{found}");
    assert_ne!(found["verdict"], "incomplete", "{found}");
    assert_eq!(end["arrays"][0]["verdict"], found["verdict"]);
    let told = frames
        .iter()
        .filter(|frame| frame.event == "agentic_array_progress");
    assert!(told.count() > 0);
}
