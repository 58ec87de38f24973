//! Ended jobs that are asked to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rivulet::domain::error::Fault;
use serde_json::json;

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Reply, Scripted, Server, fault, plain_value};
use crate::support::sse::rebuild;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_asks_only_for_what_failed_and_the_log_goes_on_after_the_end() {
    let healed = Arc::new(AtomicBool::new(false));
    let is_healed = healed.clone();
    let model = Scripted::new(move |subtree, _| {
        let fails = subtree.id.ends_with('1') || subtree.id.ends_with('3');
        if fails && !is_healed.load(Ordering::SeqCst) {
            fault(Fault::ContentFiltered, None)
        } else {
            Reply::Value(plain_value(subtree))
        }
    });
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await;
    let body = app.job_body(wide_schema(5), json!({})).await;
    let job = app.submit(&body).await;
    let first = app.follow(&job, None).await.rest().await;
    let end = first.last().unwrap();
    let last = end.payload()["sequence_number"].as_u64().unwrap();
    assert_eq!(end.payload()["subtrees_failed"], 2);
    assert_eq!(end.payload()["partial"], true);
    assert_eq!(model.asked().len(), 5);

    healed.store(true, Ordering::SeqCst);
    let path = format!("/v1/extract/jobs/{job}");
    let retried = app
        .post(&format!("{path}/retry"), &json!({}), "job_summary")
        .await;
    assert_eq!(retried.status, 202, "{}", retried.body);
    assert_eq!(retried.headers["location"], path.as_str());
    assert_eq!(
        (&retried.body["run"], &retried.body["status"]),
        (&json!(2), &json!("pending"))
    );

    let rest = app.follow(&job, Some(&last.to_string())).await.rest().await;
    let said = rest[0].payload();
    assert_eq!(
        (&said["reason"], &said["previous_status"]),
        (&json!("retried"), &json!("completed"))
    );
    let end = rest.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["partial"]),
        (&json!("completed"), &json!(false))
    );
    assert_eq!(
        (&end["subtrees_succeeded"], &end["subtrees_failed"]),
        (&json!(5), &json!(0))
    );
    assert_eq!(end["progress"]["completion_percentage"], 100.0);
    assert_eq!(model.asked().len(), 7, "only the two that failed");

    // A reader from the start gets both runs, and rebuilds what the server shows.
    let whole = app.follow(&job, None).await.rest().await;
    assert_eq!(whole.len(), first.len() + rest.len());
    assert_eq!(whole.iter().filter(|frame| frame.event == "end").count(), 2);
    let results = app.results(&job).await.body;
    assert_eq!(rebuild(&whole), results["results"]);
    assert_eq!(results["metadata"]["failed_subtrees"], json!([]));

    let refused = app
        .post(&format!("{path}/retry"), &json!({}), "job_summary")
        .await;
    assert_eq!(refused.refusal(), (409, "nothing_to_retry"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_goes_on_with_what_is_missing() {
    let model = Scripted::gated();
    let app = TestApp::start()
        .provider(Arc::new(Server(model.clone())))
        .run()
        .await;
    let config = json!({"max_num_concurrent_requests": 1});
    let body = app.job_body(wide_schema(3), config).await;
    let job = app.submit(&body).await;
    let mut stream = app.follow(&job, None).await;
    model.pass(1);
    while stream.next().await.unwrap().event != "subtree_result" {}
    let path = format!("/v1/extract/jobs/{job}");
    let early = app
        .post(&format!("{path}/retry"), &json!({}), "job_summary")
        .await;
    assert_eq!(early.refusal(), (409, "job_active"));
    let cancelled = app.post(&format!("{path}/cancel"), &json!({}), "job").await;
    assert_eq!(cancelled.status, 202);
    let asked = model.asked();

    model.pass(10);
    let retried = app
        .post(&format!("{path}/retry"), &json!({}), "job_summary")
        .await;
    assert_eq!(retried.status, 202, "{}", retried.body);
    let cursor = cancelled.body["last_event_id"].as_str().unwrap();
    let rest = app.follow(&job, Some(cursor)).await.rest().await;
    let end = rest.last().unwrap().payload();
    assert_eq!(
        (&end["status"], &end["subtrees_succeeded"]),
        (&json!("completed"), &json!(3))
    );
    let again = model.asked().split_off(asked.len());
    assert!(!again.contains(&asked[0]), "{asked:?} {again:?}");
}
