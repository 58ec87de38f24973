//! Endpoints as their users see them.

use serde_json::{Value, json};

use super::{callback_secret, deliveries, ended, registered, settled, start};
use crate::support::app::TestApp;
use crate::support::clients::{self, Runtime};
use crate::support::receiver::{Call, Receiver, Reply};
use crate::support::schemas;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_is_told_once_to_endpoint_and_callback_with_good_signatures() {
    let receiver = Receiver::start(|_, _| Reply::Status(204)).await;
    let app = start().run().await;
    let (webhook, secret) = registered(&app, json!({"url": receiver.url("/hook")})).await;
    let of_callbacks = callback_secret(&app).await;
    let job = ended(&app, json!({"callback_url": receiver.url("/back?a=b")})).await;
    let mut calls = receiver.calls(2).await;
    calls.sort_by_key(|call| call.path.clone());
    let [back, hook] = calls.try_into().unwrap();
    assert_eq!((&*back.path, &*hook.path), ("/back?a=b", "/hook"));
    assert!(hook.is_signed_by(&secret) && !hook.is_signed_by(&of_callbacks));
    assert!(back.is_signed_by(&of_callbacks) && !back.is_signed_by(&secret));
    assert_ne!(back.id(), hook.id());
    let result = app.results(&job).await.body;
    for call in [&back, &hook] {
        assert_eq!(call.header("content-type"), "application/json");
        let payload = call.payload();
        schemas::check("webhook_message", &payload);
        assert_eq!(payload["type"], "job.completed");
        assert_eq!(payload["data"]["job_id"], *job);
        assert_eq!(
            payload["data"]["document_id"],
            app.get(&format!("/v1/extract/jobs/{job}"), "job")
                .await
                .body["document_id"]
        );
        assert_eq!(payload["timestamp"], result["metadata"]["end_time"]);
        assert!(payload["data"].get("results").is_none());
    }
    let path = format!("/v1/extract/webhooks/{webhook}/deliveries");
    let list = app.get(&path, "delivery_list").await.body;
    assert_eq!(list["total_count"], 1);
    assert_eq!(list["deliveries"][0]["delivery_id"], hook.id());
    let all = deliveries(&app, &job).await;
    let ids: Vec<_> = all
        .iter()
        .map(|one| one["delivery_id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&back.id()) && ids.contains(&hook.id()));

    // Deleted with the job.
    assert_eq!(
        app.delete(&format!("/v1/extract/jobs/{job}")).await.status,
        200
    );
    assert_eq!(app.get(&path, "delivery_list").await.body["total_count"], 0);
    assert_eq!(receiver.seen().len(), 2, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_listed_changed_and_deleted_and_shows_its_secret_once() {
    let app = TestApp::start().run().await;
    let url = "https://Example.com/hook";
    let body = json!({"url": url, "events": ["job.failed"], "description": "Of billing"});
    let made = app.post("/v1/extract/webhooks", &body, "webhook").await;
    let id = made.body["webhook_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/extract/webhooks/{id}");
    assert_eq!(made.headers["location"], path);
    assert!(made.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let mut shown = made.body.clone();
    shown.as_object_mut().unwrap().shift_remove("secret");
    assert_eq!(shown["url"], "https://example.com/hook");
    assert_eq!(shown["events"], json!(["job.failed"]));
    assert_eq!(app.get(&path, "webhook").await.body, shown);
    let list = app.get("/v1/extract/webhooks", "webhook_list").await.body;
    assert_eq!(list, json!({"total_count": 1, "webhooks": [shown]}));

    let put = |body: Value| {
        let (app, path) = (&app, &path);
        async move {
            let request = app.request(reqwest::Method::PUT, path).json(&body);
            app.call(request, "webhook").await
        }
    };
    let off = put(json!({"enabled": false, "description": null}))
        .await
        .body;
    assert_eq!(
        (&off["enabled"], &off["disabled_reason"]),
        (&json!(false), &json!("requested"))
    );
    assert_eq!(
        (&off["description"], &off["events"]),
        (&Value::Null, &json!(["job.failed"]))
    );
    let on = put(json!({"enabled": true, "events": ["job.cancelled", "job.completed"]}))
        .await
        .body;
    assert_eq!(
        (&on["enabled"], &on["disabled_reason"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(on["events"], json!(["job.completed", "job.cancelled"]));
    for (body, status, code, pointer) in [
        (
            json!({"url": "https://10.0.0.1/"}),
            422,
            "callback_url_forbidden",
            "/url",
        ),
        (json!({"events": []}), 400, "invalid_request", "/events"),
        (
            json!({"events": ["job.started"]}),
            400,
            "invalid_request",
            "/events",
        ),
        (json!({"enabled": "no"}), 400, "invalid_request", "/enabled"),
        (json!({"secret": "mine"}), 400, "invalid_request", "/secret"),
        (
            json!({"description": "x".repeat(1_001)}),
            400,
            "invalid_request",
            "/description",
        ),
    ] {
        let refused = put(body.clone()).await;
        assert_eq!(refused.refusal(), (status, code), "{body}");
        assert_eq!(refused.pointers(), [pointer], "{body}");
    }
    let refused = app
        .post("/v1/extract/webhooks", &json!({}), "webhook")
        .await;
    assert_eq!(
        (refused.refusal(), refused.pointers()),
        ((400, "invalid_request"), vec!["/url"])
    );
    assert_eq!(app.get(&path, "webhook").await.body, on);
    assert_eq!(app.delete(&path).await.status, 200);
    assert_eq!(
        app.get(&path, "webhook").await.refusal(),
        (404, "webhook_not_found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_twenty_endpoints_at_most() {
    let app = TestApp::start().run().await;
    let body = json!({"url": "https://example.com/"});
    for _ in 0..20 {
        registered(&app, body.clone()).await;
    }
    let refused = app.post("/v1/extract/webhooks", &body, "webhook").await;
    assert_eq!(refused.refusal(), (409, "too_many_webhooks"));
    let app = app.reopen().await.run().await;
    let list = app.get("/v1/extract/webhooks", "webhook_list").await.body;
    assert_eq!(list["total_count"], 20, "they are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_told_of_their_own_jobs_only_and_with_secrets_of_their_own() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = start().run().await;
    let (ada, eve) = (app.key("ada").await, app.key("eve").await);
    let app = app.with_key(&eve);
    let of_eve = callback_secret(&app).await;
    let (webhook, _) = registered(&app, json!({"url": receiver.url("/eve")})).await;
    let app = app.with_key(&ada);
    let of_ada = callback_secret(&app).await;
    assert_ne!(of_ada, of_eve);
    let list = app.get("/v1/extract/webhooks", "webhook_list").await.body;
    assert_eq!(list["total_count"], 0);
    let job = ended(&app, json!({"callback_url": receiver.url("/ada")})).await;
    let one = settled(&app, &job, |one| one["state"] == "delivered").await;
    let calls = receiver.seen();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(
        (&*calls[0].path, calls[0].id()),
        ("/ada", one["delivery_id"].as_str().unwrap())
    );
    assert!(calls[0].is_signed_by(&of_ada) && !calls[0].is_signed_by(&of_eve));
    let app = app.with_key(&eve);
    let path = format!("/v1/extract/webhooks/{webhook}/deliveries");
    assert_eq!(app.get(&path, "delivery_list").await.body["total_count"], 0);
    let path = format!("/v1/extract/jobs/{job}/deliveries");
    assert_eq!(
        app.get(&path, "delivery_list").await.refusal(),
        (404, "job_not_found")
    );
}

/// Tells a receiver of one job with one secret and of another with two.
async fn with_a_rotation() -> (Vec<Call>, Vec<String>) {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = start().run().await;
    let (webhook, first) = registered(&app, json!({"url": receiver.url("/")})).await;
    ended(&app, json!({})).await;
    receiver.calls(1).await;
    let path = format!("/v1/extract/webhooks/{webhook}/rotate");
    let rotated = app.post(&path, &json!({}), "webhook").await.body;
    assert!(rotated["old_secret_expires_at"].is_string());
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    ended(&app, json!({})).await;
    (receiver.calls(2).await, vec![first, second])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation_both_secrets_sign_for_a_day_and_then_the_new_one() {
    let (calls, secrets) = with_a_rotation().await;
    let signed = |call: &Call| {
        secrets
            .iter()
            .map(|secret| call.is_signed_by(secret))
            .collect::<Vec<_>>()
    };
    assert_eq!(signed(&calls[0]), [true, false]);
    assert_eq!(signed(&calls[1]), [true, true]);
    assert_eq!(calls[1].header("webhook-signature").split(' ').count(), 2);

    let clock = std::sync::Arc::<crate::support::clock::Shifted>::default();
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let app = super::start_with(&clock).run().await;
    let (webhook, first) = registered(&app, json!({"url": receiver.url("/")})).await;
    let path = format!("/v1/extract/webhooks/{webhook}/rotate");
    let second = app.post(&path, &json!({}), "webhook").await.body["secret"].clone();
    clock.forward(24 * 3_600_000 + 1);
    ended(&app, json!({})).await;
    let calls = receiver.calls(1).await;
    assert!(calls[0].is_signed_by(second.as_str().unwrap()) && !calls[0].is_signed_by(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypi_standardwebhooks_verifies_every_message() {
    let test = "webhook::endpoints::pypi_standardwebhooks_verifies_every_message";
    let Some((interpreter, folder)) = clients::find(test, Runtime::Python) else {
        return;
    };
    let (calls, secrets) = with_a_rotation().await;
    let both: Vec<_> = secrets.iter().map(String::as_str).collect();
    let messages = json!([calls[0].told(&both[..1]), calls[1].told(&both)]);
    let arguments = [
        "standardwebhooks_client.py".into(),
        messages.to_string().into(),
    ];
    let ran = clients::run(&interpreter, &arguments, &folder, None).await;
    assert_eq!((ran.out.trim(), &*ran.err), ("2", ""));
}
