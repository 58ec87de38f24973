//! Results are kept for as long as was promised, and not shown after.

use std::sync::Arc;

use serde_json::json;

use crate::support::app::{TestApp, wide_schema};
use crate::support::clock::Shifted;
use crate::support::provider::{Scripted, Server};

const DAY: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_log_and_result_are_gone_and_the_job_stays() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let body = app.job_body(wide_schema(1), json!({})).await;
    let job = app.submit(&body).await;
    let end = app.end_of(&job).await;
    let path = format!("/v1/extract/jobs/{job}");
    let shown = app.get(&path, "job").await.body;
    assert_eq!(shown["expires_at"], end["results_expire_at"]);
    clock.forward(7 * DAY - 60_000);
    assert_eq!(app.results(&job).await.status, 200, "a minute before");
    clock.forward(60_000);
    let cases = [
        ("results", "result_expired"),
        ("results?partial=true", "result_expired"),
        ("events", "events_expired"),
    ];
    for (tail, code) in cases {
        let gone = app.get(&format!("{path}/{tail}"), "results").await;
        assert_eq!(
            (gone.status.as_u16(), gone.body["code"].as_str()),
            (410, Some(code)),
            "{tail}"
        );
    }
    assert_eq!(app.get(&path, "job").await.body["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_what_has_expired_and_leaves_the_job_as_expired() {
    let clock = Arc::new(Shifted::default());
    let moved = clock.clone();
    let app = TestApp::start()
        .provider(Arc::new(Server(Scripted::plain())))
        .set("document_retention", "10d")
        .set("schema_retention", "20d")
        .build(|builder| builder.clock(moved))
        .run()
        .await;
    let schema = json!({"name": "Wide", "schema_definition": wide_schema(1)});
    let saved = app.post("/v1/extract/schemas", &schema, "schema").await;
    let schema_path = format!(
        "/v1/extract/schemas/{}",
        saved.body["schema_id"].as_str().unwrap()
    );
    let body = app.job_body(wide_schema(2), json!({})).await;
    let document_path = format!(
        "/v1/extract/documents/{}",
        body["document_id"].as_str().unwrap()
    );
    let job = app.submit(&body).await;
    app.end_of(&job).await;
    let path = format!("/v1/extract/jobs/{job}");
    let status = async |path: &str, schema: &str| app.get(path, schema).await.status.as_u16();

    clock.forward(8 * DAY);
    app.app.engine.sweep().await;
    let shown = app.get(&path, "job").await.body;
    assert_eq!(shown["status"], "expired");
    let listed = app
        .get("/v1/extract/jobs?job_status=expired", "job_list")
        .await;
    assert_eq!(listed.body["jobs"][0]["job_id"], json!(job));
    assert_eq!(app.results(&job).await.refusal(), (410, "result_expired"));
    let events = app.open_events(&job, None).await;
    assert_eq!(events.status(), 410);
    let retried = app.post(&format!("{path}/retry"), &json!({}), "job").await;
    assert_eq!(retried.status, 410);
    assert_eq!(status(&document_path, "document").await, 200);

    clock.forward(3 * DAY);
    app.app.engine.sweep().await;
    assert_eq!(status(&document_path, "document").await, 404);
    let blobs = std::fs::read_dir(app.data().join("blobs/documents")).unwrap();
    assert_eq!(blobs.count(), 0);
    assert_eq!(status(&schema_path, "schema").await, 200);

    clock.forward(10 * DAY);
    app.app.engine.sweep().await;
    assert_eq!(status(&schema_path, "schema").await, 404);
    let deleted = app.delete(&path).await;
    assert_eq!(deleted.status, 200);
}
