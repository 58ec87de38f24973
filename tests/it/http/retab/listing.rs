//! Lists: order, cursors and every filter.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    DAY, EXTRACT, JOBS, document, end, get, of, plain, refusal, scripted_request, started, with,
};
use crate::support::app::TestApp;
use crate::support::clock::Shifted;
use crate::support::provider::{Scripted, Server};

fn ids(list: &Value) -> Vec<&str> {
    let jobs = list["data"].as_array().unwrap().iter();
    jobs.map(|job| job["id"].as_str().unwrap()).collect()
}

async fn list(app: &TestApp, query: &str) -> Value {
    let answer = get(app, &format!("{JOBS}?{query}"), "job_list").await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body
}

/// Starts jobs over documents of these names, one after the other.
async fn named(app: &TestApp, names: &[&str]) -> Vec<String> {
    let mut jobs = Vec::new();
    for name in names {
        let request = with(scripted_request(), "document", document(name, "Some text."));
        let body = with(
            of(EXTRACT, &request),
            "metadata",
            json!({"name": name, "workflow_id": "w1"}),
        );
        let job = started(app, &body).await;
        end(app, &job).await;
        jobs.push(job);
    }
    jobs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lead_on_by_after_and_back_by_before_in_both_orders() {
    let app = plain().await;
    let jobs = named(&app, &["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"]).await;
    let of = |places: &[usize]| {
        places
            .iter()
            .map(|place| jobs[*place].as_str())
            .collect::<Vec<_>>()
    };
    let first = list(&app, "limit=2").await;
    assert_eq!(ids(&first), of(&[4, 3]), "the newest first");
    assert_eq!(
        (&first["first_id"], &first["last_id"]),
        (&json!(jobs[4]), &json!(jobs[3]))
    );
    assert_eq!(first["has_more"], true);
    let next = list(&app, &format!("limit=2&after={}", jobs[3])).await;
    assert_eq!((ids(&next), &next["has_more"]), (of(&[2, 1]), &json!(true)));
    let last = list(&app, &format!("limit=2&after={}", jobs[1])).await;
    assert_eq!((ids(&last), &last["has_more"]), (of(&[0]), &json!(false)));
    let back = list(&app, &format!("limit=2&before={}", jobs[0])).await;
    assert_eq!((ids(&back), &back["has_more"]), (of(&[2, 1]), &json!(true)));
    let front = list(&app, &format!("limit=2&before={}", jobs[3])).await;
    assert_eq!((ids(&front), &front["has_more"]), (of(&[4]), &json!(false)));
    let up = list(&app, "limit=2&order=asc").await;
    assert_eq!((ids(&up), &up["has_more"]), (of(&[0, 1]), &json!(true)));
    let up = list(&app, &format!("limit=3&order=asc&after={}", jobs[1])).await;
    assert_eq!((ids(&up), &up["has_more"]), (of(&[2, 3, 4]), &json!(false)));
    let up = list(&app, &format!("limit=2&order=asc&before={}", jobs[3])).await;
    assert_eq!((ids(&up), &up["has_more"]), (of(&[1, 2]), &json!(true)));
    let none = list(&app, &format!("after={}", jobs[0])).await;
    assert_eq!(
        none,
        json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_finds_what_it_names_and_nothing_else() {
    let app = plain().await;
    let jobs = named(&app, &["Invoice-1.pdf.txt", "letter.md", "scan.TXT"]).await;
    let schema = json!({"name": "i", "schema_definition": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let project = app
        .post("/v1/extract/schemas", &schema, "schema")
        .await
        .body["schema_id"]
        .clone();
    let request =
        json!({"document": document("p.md", "x"), "model": "scripted", "project_id": project});
    let of_project = started(&app, &of("/v1/projects/extract", &request)).await;
    end(&app, &of_project).await;
    let [invoice, letter, scan] = [&*jobs[0], &*jobs[1], &*jobs[2]];
    let all = vec![&*of_project, scan, letter, invoice];
    let project = project.as_str().unwrap();
    for (query, expected) in [
        ("", all.clone()),
        (&*format!("id={letter}"), vec![letter]),
        ("id=job_nothing", vec![]),
        ("status=completed", all.clone()),
        ("status=queued", vec![]),
        ("status=validating", vec![]),
        (
            "endpoint=/v1/documents/extract",
            vec![scan, letter, invoice],
        ),
        ("endpoint=/v1/documents/parse", vec![]),
        ("source=api", all.clone()),
        ("source=project", vec![&*of_project]),
        ("source=workflow", vec![]),
        (&*format!("project_id={project}"), vec![&*of_project]),
        ("project_id=proj_1", vec![]),
        ("workflow_id=w1", vec![scan, letter, invoice]),
        ("workflow_id=w2", vec![]),
        ("workflow_block_id=b", vec![]),
        ("model=scripted", all.clone()),
        ("model=layout", vec![]),
        ("filename_contains=INVOICE", vec![invoice]),
        ("filename_regex=%5Elet.*md%24", vec![letter]),
        ("document_type=markdown", vec![&*of_project, letter]),
        ("document_type=text&document_type=md", all.clone()),
        ("document_type=text&filename_regex=scan", vec![scan]),
        ("document_type=pdf", vec![]),
        ("metadata=%7B%22name%22%3A%22letter.md%22%7D", vec![letter]),
        ("metadata=%7B%22name%22%3A%22letter%22%7D", vec![]),
    ] {
        assert_eq!(ids(&list(&app, query).await), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_bound_a_list_and_both_belong_to_it() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let mut days = Vec::new();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let job = named(&app, &["a.txt"]).await.remove(0);
        let shown = get(&app, &format!("{JOBS}/{job}"), "job").await.body;
        let at = shown["created_at"].as_i64().unwrap();
        days.push(rivulet::domain::time::Time(at * 1_000).to_string()[..10].to_owned());
        jobs.push(job);
        clock.forward(DAY * 1_000);
    }
    let middle = list(&app, &format!("from_date={0}&to_date={0}", days[1])).await;
    assert_eq!(ids(&middle), [&*jobs[1]]);
    let late = list(&app, &format!("from_date={}", days[1])).await;
    assert_eq!(ids(&late), [&*jobs[2], &*jobs[1]]);
    let early = list(&app, &format!("to_date={}", days[0])).await;
    assert_eq!(ids(&early), [&*jobs[0]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_responses_of_a_list_are_there_when_they_are_wanted_without_documents() {
    let app = plain().await;
    named(&app, &["a.txt"]).await;
    let usual = &list(&app, "").await["data"][0];
    assert_eq!(usual["request"]["document"], json!({"filename": "a.txt"}));
    assert_eq!(usual["response"], Value::Null);
    let whole = &list(&app, "include_request=true&include_response=true").await["data"][0];
    assert_eq!(whole["request"]["document"], json!({"filename": "a.txt"}));
    assert_eq!(whole["response"]["status_code"], 200);
    let bare = &list(&app, "include_request=false&include_response=false").await["data"][0];
    assert_eq!(
        (&bare["request"], &bare["response"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_cannot_be_read_is_refused_by_its_name() {
    let app = plain().await;
    for (query, place) in [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("order=up", "/order"),
        ("status=done", "/status"),
        ("endpoint=/v1/edit/agent/fill", "/endpoint"),
        ("source=mail", "/source"),
        ("before=x", "/before"),
        ("after=job_x", "/after"),
        (
            "before=018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11&after=018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11",
            "/before",
        ),
        ("filename_regex=%28", "/filename_regex"),
        ("document_type=.*", "/document_type"),
        ("from_date=yesterday", "/from_date"),
        ("to_date=2026-02-30", "/to_date"),
        ("metadata=x", "/metadata"),
        ("metadata=%7B%22a%22%3A1%7D", "/metadata/a"),
        ("include_request=maybe", "/include_request"),
        ("include_response=maybe", "/include_response"),
    ] {
        let answer = get(&app, &format!("{JOBS}?{query}"), "job_list").await;
        assert_eq!(refusal(&answer), (400, "invalid_request", place), "{query}");
    }
}
