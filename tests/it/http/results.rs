//! Results: every value with the place it was read from.

use rivulet::document::Readers;
use rivulet::domain::document::Document;
use rivulet::engine::ports::Reader;
use serde_json::{Value, json};

use crate::support::app::{TestApp, file};

/// Every leaf of a wrapped result with the pointer of what it wraps.
fn leaves<'a>(at: &str, node: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if node.get("extracted_value").is_some() {
        found.push((at.to_owned(), node));
    } else if let Value::Object(members) = node {
        for (key, part) in members {
            let key = key.replace('~', "~0").replace('/', "~1");
            leaves(&format!("{at}/{key}"), part, found);
        }
    } else if let Value::Array(items) = node {
        for (index, part) in items.iter().enumerate() {
            leaves(&format!("{at}/{index}"), part, found);
        }
    } else {
        panic!("a bare value at {at}: {node}");
    }
}

fn assert_quoted(document: &Document, leaf: &Value) {
    let quote = &leaf["location"];
    assert_eq!(quote["verified"], true, "{leaf}");
    let number = quote["page"].as_u64().unwrap();
    let page = &document.pages[number as usize - 1];
    let (start, end) = (
        quote["start"].as_u64().unwrap(),
        quote["end"].as_u64().unwrap(),
    );
    let there = page.slice(start as u32, end as u32).unwrap();
    assert_eq!(there, quote["text"].as_str().unwrap());
    assert!(!there.trim().is_empty(), "{leaf}");
    let edges: Vec<f64> = quote["bbox"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_f64().unwrap())
        .collect();
    let [x0, y0, x1, y1] = edges[..] else {
        panic!("{quote}")
    };
    assert!(
        0.0 <= x0 && x0 < x1 && x1 <= 1.0 && 0.0 <= y0 && y0 < y1 && y1 <= 1.0,
        "{quote}"
    );
    let confidence = leaf["confidence"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&confidence), "{leaf}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_of_the_example_invoice_is_quoted_from_the_page() {
    let app = TestApp::start().run().await;
    let bytes = file("schemas/examples/invoice.pdf");
    let document = Readers.read(&bytes).unwrap();
    let schema: Value =
        serde_json::from_slice(&file("schemas/examples/invoice.schema.json")).unwrap();
    let id = app.upload("invoice.pdf", bytes).await.body["document_id"].clone();
    let body =
        json!({"document_id": id, "schema": schema, "config": {"per_key_attribution": true}});
    let job = app.submit(&body).await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
    let results = app.results(&job).await.body;
    assert_eq!(results["metadata"]["validation"]["valid"], true);
    let mut found = Vec::new();
    leaves("", &results["wrapped_results"], &mut found);
    let mut values = 0;
    for (pointer, leaf) in &found {
        assert_eq!(
            results["results"].pointer(pointer),
            Some(&leaf["extracted_value"]),
            "{pointer}"
        );
        if leaf["extracted_value"].is_null() {
            assert!(
                leaf["location"].is_null(),
                "nothing is quoted for nothing: {pointer}"
            );
            continue;
        }
        values += 1;
        assert_quoted(&document, leaf);
        let quotes = results["attributions"][pointer]["quotes"]
            .as_array()
            .unwrap();
        assert_eq!(quotes[0], leaf["location"]);
    }
    let attributed = results["attributions"].as_object().unwrap();
    assert!(
        attributed
            .keys()
            .all(|key| found.iter().any(|(pointer, _)| pointer == key))
    );
    // The page has at least its number, its dates, its three lines and its totals to give.
    assert!(values >= 20, "{values} values were found");
    assert_eq!(
        results["results"]["line_items"].as_array().unwrap().len(),
        3
    );
    let mut bare = body.clone();
    bare["config"] = json!({});
    let job = app.submit(&bare).await;
    app.end_of(&job).await;
    let bare = app.results(&job).await.body;
    assert_eq!(bare["results"], results["results"]);
    assert!(bare["attributions"].is_null() && bare.get("wrapped_results").is_none());
}
