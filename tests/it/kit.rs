//! The made documents hold what they say they hold.

use std::collections::HashMap;

use serde_json::Value;

use crate::long::{Document, Spec};
use crate::support::app::TestApp;

fn specs() -> impl Iterator<Item = Spec> {
    let rows = [27, 100, 400];
    (0..12).map(move |seed| {
        let rows = rows[seed as usize % rows.len()];
        if seed % 4 == 0 {
            Spec::plain(seed, rows)
        } else {
            Spec::hard(seed, rows)
        }
    })
}

#[test]
fn the_same_seed_is_the_same_document_and_another_is_not() {
    for spec in specs() {
        let (one, two) = (Document::make(spec), Document::make(spec));
        assert_eq!(one.pdf(), two.pdf());
        assert_eq!(one.text(), two.text());
        let other = Spec {
            seed: spec.seed + 100,
            ..spec
        };
        assert_ne!(one.text(), Document::make(other).text());
    }
}

#[test]
fn the_same_rows_can_be_set_on_more_pages() {
    for spec in [Spec::plain(1, 400), Spec::hard(2, 400)] {
        let usual = Document::make(spec);
        let pages = usual.page_count() * 2;
        let longer = Document::make(spec.over_pages(pages));
        assert!(
            (pages..pages + 6).contains(&longer.page_count()),
            "{spec:?}"
        );
        assert_eq!(longer.truth(), usual.truth());
    }
}

#[test]
fn every_row_of_the_truth_stands_in_the_text_as_often_as_it_is_there() {
    for spec in specs() {
        let document = Document::make(spec);
        let truth = document.truth();
        let validator = jsonschema::validator_for(&document.schema()).unwrap();
        assert!(validator.is_valid(&truth), "{spec:?}");
        let mut due: HashMap<String, usize> = HashMap::new();
        for name in ["items", "returned_items"] {
            let rows = truth.get(name).and_then(Value::as_array);
            for row in rows.into_iter().flatten() {
                *due.entry(row["article"].as_str().unwrap().to_owned())
                    .or_default() += 1;
            }
        }
        let text = document.text();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for line in text.lines() {
            // Behind the ordinal, where there is one.
            let words = line.split_whitespace().take(2);
            let article = words.into_iter().find(|word| due.contains_key(*word));
            if let Some(article) = article {
                *seen.entry(article.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(seen, due, "{spec:?}");
        let sum: f64 = (truth["items"].as_array().unwrap().iter())
            .map(|row| row["total"].as_f64().unwrap())
            .sum();
        let stated = spec.language.figure((sum * 100.0).round() as u64);
        assert_eq!(
            text.contains(&stated),
            spec.states_totals,
            "{spec:?}: {stated}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pdf_is_read_with_all_its_pages() {
    let app = TestApp::start().run().await;
    for spec in specs().filter(|spec| spec.rows == 100) {
        let document = Document::make(spec);
        let uploaded = app.upload("long.pdf", document.pdf()).await;
        assert_eq!(uploaded.body["page_count"], document.page_count());
    }
}
