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
