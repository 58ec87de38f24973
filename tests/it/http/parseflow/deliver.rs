//! Callbacks: `callback_url` of a job, `POST /v2/jobs/{job_id}/deliver`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{INVOICE, JOBS, call, end, form, get, refusal, started};
use crate::support::app::TestApp;
use crate::support::receiver::{Receiver, Reply};
use crate::support::schemas;

async fn loopback() -> TestApp {
    TestApp::start().set("webhooks_loopback", "on").run().await
}

async fn deliver(app: &TestApp, job: &str, url: Option<&str>) -> crate::support::app::Answer {
    let request = app.request(Method::POST, &format!("{JOBS}/{job}/deliver"));
    let request = match url {
        Some(url) => request.multipart(form(&[("callback_url", url)])),
        None => request,
    };
    call(app, request, "parseflow_job").await
}

/// Looks at the job until its callback was delivered: that is recorded after the receiver saw it.
async fn delivered(app: &TestApp, job: &str) -> Value {
    let looked = async {
        loop {
            let body = get(app, &format!("{JOBS}/{job}"), "parseflow_job")
                .await
                .body;
            if body["status"] == "delivered" {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, looked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callback_holds_job_status_and_result_and_the_job_is_delivered_with_its_result() {
    let (app, receiver) = (
        loopback().await,
        Receiver::start(|_, _| Reply::Status(200)).await,
    );
    let url = receiver.url("/hook");
    let fields = [
        ("text", INVOICE),
        ("preset", "invoice"),
        ("callback_url", &url),
    ];
    let job = started(&app, &fields).await;
    let told = receiver.calls(1).await[0].clone();
    let ended = delivered(&app, &job).await;
    let body = told.payload();
    assert_eq!(
        (&body["job_id"], &body["status"]),
        (&json!(job), &json!("succeeded"))
    );
    assert_eq!(body["result"]["extraction"], ended["result"]["extraction"]);
    assert_eq!(body["result"]["chunks"], ended["result"]["chunks"]);
    schemas::check("parseflow_result", &body["result"]);
    let secret = app
        .get("/v1/extract/webhooks/callback-secret", "callback_secret")
        .await;
    assert!(told.is_signed_by(secret.body["secret"].as_str().unwrap()));
    assert_eq!(ended["callback_url"], url);
    let delivery = &ended["delivery"];
    assert_eq!(delivery["attempts"], 1);
    assert_eq!(delivery["last_status_code"], 200);
    assert_eq!(delivery["delivered"], true);
    assert!(delivery["last_attempt_at"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_delivered_on_demand_to_the_address_that_is_named() {
    let (app, receiver) = (
        loopback().await,
        Receiver::start(|_, _| Reply::Status(204)).await,
    );
    let job = started(&app, &[("text", INVOICE)]).await;
    assert_eq!(end(&app, &job).await["status"], "succeeded");
    let answer = deliver(&app, &job, Some(&receiver.url("/now"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "delivered");
    assert!(answer.body["result"].is_object());
    let delivery = &answer.body["delivery"];
    assert_eq!(
        (&delivery["attempts"], &delivery["last_status_code"]),
        (&json!(1), &json!(204))
    );
    let calls = receiver.seen();
    assert_eq!((calls.len(), &*calls[0].path), (1, "/now"));
    assert_eq!(calls[0].payload()["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_is_told_of_and_the_job_is_not_delivered() {
    let (app, receiver) = (
        loopback().await,
        Receiver::start(|_, _| Reply::Status(500)).await,
    );
    let job = started(&app, &[("text", INVOICE)]).await;
    end(&app, &job).await;
    let answer = deliver(&app, &job, Some(&receiver.url("/"))).await;
    assert_eq!(answer.body["status"], "succeeded");
    let delivery = &answer.body["delivery"];
    assert_eq!(
        (&delivery["attempts"], &delivery["delivered"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(delivery["last_status_code"], 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_address_a_try_is_recorded_and_nothing_is_sent() {
    let app = TestApp::start().run().await;
    let job = started(&app, &[("text", INVOICE)]).await;
    end(&app, &job).await;
    for tries in 1..=2 {
        let answer = deliver(&app, &job, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["status"], "succeeded");
        let delivery = &answer.body["delivery"];
        assert_eq!(
            (&delivery["attempts"], &delivery["delivered"]),
            (&json!(tries), &json!(false))
        );
        assert!(delivery.get("last_status_code").is_none());
        assert!(delivery["last_attempt_at"].is_string());
    }
    let path = format!("/v1/extract/jobs/{job}/deliveries");
    let native = app.get(&path, "delivery_list").await;
    let first = &native.body["deliveries"][0];
    assert_eq!(
        (&first["url"], &first["state"]),
        (&json!(""), &json!("failed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_this_network_and_jobs_that_have_not_ended_are_refused() {
    let provider = crate::support::provider::Scripted::gated();
    let server = std::sync::Arc::new(crate::support::provider::Server(provider));
    let app = TestApp::start().provider(server).run().await;
    let job = started(&app, &[("text", INVOICE), ("mode", "basic")]).await;
    end(&app, &job).await;
    for url in [
        "http://127.0.0.1/x",
        "https://10.0.0.1/",
        "ftp://example.com/",
    ] {
        let refused = deliver(&app, &job, Some(url)).await;
        assert_eq!(refusal(&refused).1, "callback_url_forbidden", "{url}");
        let create = form(&[("text", "x"), ("callback_url", url)]);
        let refused = super::post(&app, JOBS, create, "parseflow_job").await;
        assert_eq!(
            refusal(&refused),
            (422, "callback_url_forbidden", "callback_url")
        );
    }
    let schema = crate::support::app::wide_schema(2);
    let job = app.submit(&app.job_body(schema, json!({})).await).await;
    let refused = deliver(&app, &job, None).await;
    assert_eq!(refusal(&refused).1, "result_not_ready");
}
