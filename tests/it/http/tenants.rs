//! Users: what one stores is not there for the others.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::openapi::{DOCUMENT, METHODS, filled};
use crate::support::provider::{Scripted, Server};

/// An answer without what is different each time.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

async fn seen(answer: Response, id: &str) -> Seen {
    let status = answer.status().as_u16();
    let request_id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let headers = answer.headers().iter();
    // Whether a body that nobody wants was there in time decides over `connection`.
    let varying = ["x-request-id", "date", "connection"];
    let headers = headers.filter(|(name, _)| !varying.contains(&name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let body = answer.text().await.unwrap();
    let body = body.replace(&request_id, "REQUEST").replace(id, "ID");
    Seen {
        status,
        headers,
        body,
    }
}

struct Ids {
    document: String,
    schema: String,
    ended: String,
    active: String,
    webhook: String,
}

/// What ada stores: a document, a schema, a job that has ended and one that has not.
async fn stored(app: &TestApp, scripted: &Scripted) -> Ids {
    let document = app.document().await;
    let body = json!({"name": "mine", "schema_definition": wide_schema(1)});
    let schema = app.post("/v1/extract/schemas", &body, "schema").await.body["schema_id"].clone();
    let schema = schema.as_str().unwrap().to_owned();
    let body = json!({"document_id": document, "schema_id": schema});
    scripted.pass(1);
    let ended = app.submit(&body).await;
    app.end_of(&ended).await;
    let active = app.submit(&body).await;
    let body = json!({"url": "https://example.com/hook"});
    let webhook = app
        .post("/v1/extract/webhooks", &body, "webhook")
        .await
        .body["webhook_id"]
        .clone();
    let webhook = webhook.as_str().unwrap().to_owned();
    Ids {
        document,
        schema,
        ended,
        active,
        webhook,
    }
}

fn ask(app: &TestApp, method: &Method, path: &str, key: &str) -> reqwest::RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .request(method.clone(), app.url(path))
        .bearer_auth(key);
    match *method {
        Method::PUT => request.json(&json!({"name": "taken over"})),
        Method::POST | Method::PATCH => request.json(&json!({})),
        _ => request,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_id_is_answered_exactly_as_one_that_nobody_has() {
    let scripted = Scripted::gated();
    let app = TestApp::start()
        .provider(std::sync::Arc::new(Server(scripted.clone())))
        .run()
        .await;
    let (ada, eve) = (app.key("ada").await, app.key("eve").await);
    let app = app.with_key(&ada);
    let ids = stored(&app, &scripted).await;
    let mut asked = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        let foreign: &[&String] = match () {
            () if path.starts_with("/console/") => continue,
            () if path.contains("{document_id}") => &[&ids.document],
            () if path.contains("{schema_id}") => &[&ids.schema],
            () if path.contains("{webhook_id}") => &[&ids.webhook],
            () if path.contains("{job_id}") => &[&ids.ended, &ids.active],
            () => continue,
        };
        for id in foreign {
            for name in METHODS {
                let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
                let nobody = uuid::Uuid::new_v4().to_string();
                let theirs = ask(&app, &method, &filled(path, id), &eve);
                let missing = ask(&app, &method, &filled(path, &nobody), &eve);
                let theirs = seen(theirs.send().await.unwrap(), id).await;
                let missing = seen(missing.send().await.unwrap(), &nobody).await;
                assert_eq!(theirs, missing, "{method} {path}");
                let is_published = item.get(name).is_some();
                let expected = if is_published { 404 } else { 405 };
                assert_eq!(theirs.status, expected, "{method} {path}");
                asked += u32::from(is_published);
            }
        }
    }
    assert!(asked >= 24, "{asked} operations take an id");
    assert_untouched(&app, &ids).await;
    scripted.pass(10);
    app.end_of(&ids.active).await;
}

/// All of it is still there for its owner.
async fn assert_untouched(app: &TestApp, ids: &Ids) {
    let document = format!("/v1/extract/documents/{}", ids.document);
    assert_eq!(app.get(&document, "document").await.status, 200);
    let schema = format!("/v1/extract/schemas/{}", ids.schema);
    assert_eq!(app.get(&schema, "schema").await.body["name"], "mine");
    assert_eq!(app.results(&ids.ended).await.status, 200);
    let webhook = format!("/v1/extract/webhooks/{}", ids.webhook);
    assert_eq!(app.get(&webhook, "webhook").await.body["enabled"], true);
    let active = format!("/v1/extract/jobs/{}", ids.active);
    let status = app.get(&active, "job").await.body["status"].clone();
    assert!(["pending", "processing"].contains(&status.as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_new_jobs_know_nothing_of_others() {
    let app = TestApp::start().run().await;
    let (ada, eve) = (app.key("ada").await, app.key("eve").await);
    let app = app.with_key(&ada);
    let document = app.document().await;
    let body = json!({"name": "mine", "schema_definition": wide_schema(1)});
    let schema = app.post("/v1/extract/schemas", &body, "schema").await.body["schema_id"].clone();
    let job = app
        .submit(&json!({"document_id": document, "schema_id": schema}))
        .await;
    app.end_of(&job).await;

    let app = app.with_key(&eve);
    for (path, name) in [
        ("/v1/extract/documents", "document_list"),
        ("/v1/extract/schemas", "schema_list"),
        ("/v1/extract/jobs", "job_list"),
    ] {
        let list = app.get(path, name).await.body;
        assert_eq!(list["total_count"], 0, "{list}");
        let search = app.get(&format!("{path}?search={}", &job[..8]), name).await;
        assert_eq!(search.body["total_count"], 0);
    }
    let own = app.document().await;
    let refused = |body: Value| {
        let app = &app;
        async move { app.post("/v1/extract/jobs", &body, "job_created").await }
    };
    let answer = refused(json!({"document_id": document, "schema": {}})).await;
    assert_eq!(answer.refusal(), (404, "document_not_found"));
    let answer = refused(json!({"document_id": own, "schema_id": schema})).await;
    assert_eq!(answer.refusal(), (404, "schema_not_found"));

    // The same bytes are the document of both, and one does not take them from the other.
    assert_eq!(
        app.delete(&format!("/v1/extract/documents/{own}"))
            .await
            .status,
        200
    );
    let app = app.with_key(&ada);
    let content = format!("/v1/extract/documents/{document}/content");
    let content = app.request(Method::GET, &content).send().await.unwrap();
    assert!(content.text().await.unwrap().contains("Invoice number: 7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_of_a_user_see_the_same_and_the_first_key_sees_what_was_there_before() {
    let app = TestApp::start().run().await;
    let before = app.document().await;
    let (first, second) = (app.key("local").await, app.key("local").await);
    let path = format!("/v1/extract/documents/{before}");
    let app = app.with_key(&first);
    assert_eq!(app.get(&path, "document").await.status, 200);
    let app = app.with_key(&second);
    assert_eq!(app.get(&path, "document").await.status, 200);
    let other = app.key("ada").await;
    let app = app.with_key(&other);
    assert_eq!(
        app.get(&path, "document").await.refusal(),
        (404, "document_not_found")
    );
}
