//! Templates and filters: saved, used by jobs, and what is refused.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, file, wide_schema};
use crate::support::provider::{Scripted, Server};
use crate::support::schemas;

const TEMPLATES: &str = "/v1/extract/templates";
const FILTERS: &str = "/v1/extract/filters";
const JOBS: &str = "/v1/extract/jobs";

fn invoice() -> String {
    let bytes = file("tests/fixtures/documents/fieldbench-invoice.md");
    String::from_utf8(bytes).unwrap()
}

async fn save(app: &TestApp, name: &str, subtrees: usize) -> Value {
    let body = json!({
        "name": name, "schema": wide_schema(subtrees), "instructions": "As printed.",
        "config": {"model": "scripted", "seed": 7},
    });
    let answer = app.post(TEMPLATES, &body, "template").await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

async fn scripted() -> (TestApp, Arc<Scripted>) {
    let scripted = Scripted::plain();
    let provider = Arc::new(Server(Arc::clone(&scripted)));
    (TestApp::start().provider(provider).run().await, scripted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_kept_until_it_is_replaced_and_deleted() {
    let app = TestApp::start().run().await;
    let body = json!({"name": " Invoice ", "schema": true, "description": "What we pay."});
    let created = app.post(TEMPLATES, &body, "template").await;
    assert_eq!(created.status, 201);
    let place = created.headers["location"].to_str().unwrap().to_owned();
    let shown = app.get(&place, "template").await.body;
    assert_eq!(shown, created.body);
    assert_eq!(
        (&shown["name"], &shown["instructions"], &shown["config"]),
        (&json!("Invoice"), &Value::Null, &json!({}))
    );
    let put = |body: Value| app.call(app.request(Method::PUT, &place).json(&body), "template");
    let other = put(json!({"name": "Bill", "schema": {}, "config": {"seed": 1}})).await;
    assert_eq!(other.status, 200);
    assert_eq!(
        (&other.body["name"], &other.body["description"]),
        (&json!("Bill"), &Value::Null),
        "it is replaced whole"
    );
    assert_eq!(other.body["created_at"], created.body["created_at"]);
    save(&app, "Receipt", 1).await;
    let list = app
        .get(&format!("{TEMPLATES}?search=BIL"), "template_list")
        .await;
    assert_eq!(list.body["templates"], json!([other.body]));
    let page = app
        .get(&format!("{TEMPLATES}?limit=1"), "template_list")
        .await;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let next = format!("{TEMPLATES}?limit=1&cursor={cursor}");
    let next = app.get(&next, "template_list").await.body;
    assert_eq!(next["templates"], json!([other.body]));
    let taken = put(json!({"name": "Receipt", "schema": {}})).await;
    assert_eq!(taken.refusal(), (409, "name_taken"));
    assert_eq!(app.delete(&place).await.status, 200);
    let gone = app.get(&place, "template").await;
    assert_eq!(gone.refusal(), (404, "template_not_found"));
    assert_eq!(app.delete(&place).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_no_job_could_use_is_refused_with_the_place() {
    let app = TestApp::start().run().await;
    let good = json!({"name": "A", "schema": {}});
    for (name, value, refusal, pointer) in [
        ("name", json!(null), (400, "invalid_request"), "/name"),
        ("name", json!(" "), (400, "invalid_request"), "/name"),
        (
            "name",
            json!("018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11"),
            (400, "invalid_request"),
            "/name",
        ),
        ("schema", json!(null), (400, "invalid_request"), "/schema"),
        (
            "schema",
            json!({"type": "money"}),
            (422, "invalid_schema"),
            "/schema/type",
        ),
        ("config", json!([]), (400, "invalid_request"), "/config"),
        (
            "config",
            json!({"seed": "x"}),
            (422, "invalid_config"),
            "/config/seed",
        ),
        (
            "config",
            json!({"additional_instructions": "x"}),
            (422, "invalid_config"),
            "/config/additional_instructions",
        ),
        (
            "instructions",
            json!("x".repeat(10_001)),
            (422, "invalid_config"),
            "/instructions",
        ),
        (
            "description",
            json!("x".repeat(10_001)),
            (400, "invalid_request"),
            "/description",
        ),
        ("model", json!("x"), (400, "invalid_request"), "/model"),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let refused = app.post(TEMPLATES, &body, "template").await;
        assert_eq!(
            (refused.refusal(), refused.pointers()),
            (refusal, vec![pointer]),
            "{}",
            refused.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_takes_a_copy_of_its_template_and_its_own_settings_go_before() {
    let (app, scripted) = scripted().await;
    scripted.close();
    let template = save(&app, "Invoice", 2).await;
    let place = format!("{TEMPLATES}/{}", template["template_id"].as_str().unwrap());
    let body = json!({
        "document": "Total: 5", "template": "Invoice",
        "config": {"seed": 8, "additional_instructions": "In euros."},
    });
    let job = app.submit(&body).await;
    scripted.until_asked(1).await;
    // What becomes of the template now is nothing to the job.
    let other = json!({"name": "Invoice", "schema": {"properties": {"x": {}}}});
    let put = app.request(Method::PUT, &place).json(&other);
    assert_eq!(app.call(put, "template").await.status, 200);
    assert_eq!(app.delete(&place).await.status, 200);
    scripted.pass(9);
    app.end_of(&job).await;
    let shown = app.get(&format!("{JOBS}/{job}"), "job").await.body;
    assert_eq!(shown["template"], json!({"template": "Invoice"}));
    assert_eq!(shown["total_subtrees"], 2);
    let config = &shown["config"];
    assert_eq!(
        (&config["model"], &config["seed"]),
        (&json!("scripted"), &json!(8))
    );
    assert_eq!(
        config["additional_instructions"],
        "As printed.\n\nIn euros."
    );
    let gone = app.post(JOBS, &body, "job_created").await;
    assert_eq!(gone.refusal(), (404, "template_not_found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_named_by_its_id_as_well_and_is_its_users_alone() {
    let (app, _) = scripted().await;
    let app = app.with_key("none");
    let (alice, bob) = (app.key("alice").await, app.key("bob").await);
    let app = app.with_key(&alice);
    let template = save(&app, "Invoice", 1).await;
    let id = template["template_id"].as_str().unwrap();
    for word in ["Invoice", id] {
        let body = json!({"document": "Total: 5", "template": word});
        let job = app.submit(&body).await;
        app.end_of(&job).await;
    }
    let app = app.with_key(&bob);
    for word in ["Invoice", id] {
        let body = json!({"document": "Total: 5", "template": word});
        let refused = app.post(JOBS, &body, "job_created").await;
        assert_eq!(refused.refusal(), (404, "template_not_found"));
    }
    let refused = app.get(&format!("{TEMPLATES}/{id}"), "template").await;
    assert_eq!(refused.refusal(), (404, "template_not_found"));
    let list = app.get(TEMPLATES, "template_list").await.body;
    assert_eq!(list["total_count"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_names_one_source_of_its_schema() {
    let (app, _) = scripted().await;
    save(&app, "Invoice", 1).await;
    for body in [
        json!({"document": "x", "template": "Invoice", "schema": {}}),
        json!({"document": "x", "filter": "Inbox", "schema": {}}),
        json!({"document": "x", "template": 7}),
        json!({"document": "x", "template": "Invoice", "operation": "parse"}),
        json!({"document": "x"}),
    ] {
        let refused = app.post(JOBS, &body, "job_created").await;
        assert_eq!(refused.refusal(), (400, "invalid_request"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_routes_a_document_by_its_kind_and_skips_what_it_is_told_to() {
    let (app, _) = scripted().await;
    save(&app, "Invoices", 2).await;
    save(&app, "Own", 1).await;
    let rules = |invoice: Value| {
        let mut invoice = invoice;
        invoice["kind"] = json!("invoice");
        json!({"name": "Inbox", "rules": [invoice, {"kind": "resume", "skip": true}]})
    };
    let created = app
        .post(FILTERS, &rules(json!({"template": "Invoices"})), "filter")
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let place = created.headers["location"].to_str().unwrap().to_owned();
    let run = async |body: Value| {
        let job = app.submit(&body).await;
        app.end_of(&job).await;
        app.get(&format!("{JOBS}/{job}"), "job").await.body
    };
    let inbox = json!({"document": invoice(), "filter": "Inbox"});
    let routed = run(inbox.clone()).await;
    assert_eq!(
        routed["template"],
        json!({"template": "Invoices", "filter": "Inbox", "kind": "invoice"})
    );
    assert_eq!(
        (&routed["operation"], &routed["total_subtrees"]),
        (&json!("extract"), &json!(2))
    );

    // A kind without a route goes by the job's own template; without one it is only classified.
    let put = async |body: Value| {
        let put = app.request(Method::PUT, &place).json(&body);
        let put = app.call(put, "filter").await;
        assert_eq!(put.status, 200, "{}", put.body);
    };
    put(rules(json!({}))).await;
    let own = run(json!({"document": invoice(), "filter": "Inbox", "template": "Own"})).await;
    assert_eq!(own["template"]["template"], "Own");
    let classified = run(inbox.clone()).await;
    assert_eq!(
        (
            &classified["operation"],
            &classified["template"]["template"]
        ),
        (&json!("classify"), &Value::Null)
    );

    // A document that is skipped is not extracted, whatever template the job names.
    put(rules(json!({"skip": true}))).await;
    let job = app
        .submit(&json!({"document": invoice(), "filter": "Inbox", "template": "Own"}))
        .await;
    app.end_of(&job).await;
    let results = app.results(&job).await.body["results"].clone();
    schemas::check("operation_classify", &results);
    assert_eq!(results["category"], "invoice");

    // None of the kinds: skipped where nothing else is said.
    let other = run(json!({"document": "zebra quagga okapi", "filter": "Inbox"})).await;
    assert_eq!(
        other["template"],
        json!({"template": null, "filter": "Inbox"})
    );
    let mut otherwise = rules(json!({"skip": true}));
    otherwise["otherwise"] = json!({"template": "Own"});
    put(otherwise).await;
    let other = run(json!({"document": "zebra quagga okapi", "filter": "Inbox"})).await;
    assert_eq!(other["template"]["template"], "Own");

    let list = app.get(FILTERS, "filter_list").await.body;
    assert_eq!(list["total_count"], 1);
    assert_eq!(app.delete(&place).await.status, 200);
    let gone = app.post(JOBS, &inbox, "job_created").await;
    assert_eq!(gone.refusal(), (404, "filter_not_found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_cannot_work_is_refused_with_the_place() {
    let (app, _) = scripted().await;
    save(&app, "Own", 1).await;
    let filter = |rules: Value| json!({"name": "F", "rules": rules});
    for (body, pointer) in [
        (filter(json!([])), "/rules"),
        (filter(json!([7])), "/rules/0"),
        (filter(json!([{"template": "Own"}])), "/rules/0/kind"),
        (filter(json!([{"kind": " "}])), "/rules/0/kind"),
        (
            filter(json!([{"kind": "a"}, {"kind": "a"}])),
            "/rules/1/kind",
        ),
        (
            filter(json!([{"kind": "a", "template": 7}])),
            "/rules/0/template",
        ),
        (
            filter(json!([{"kind": "a", "skip": "yes"}])),
            "/rules/0/skip",
        ),
        (
            filter(json!([{"kind": "a", "template": "Own", "skip": true}])),
            "/rules/0",
        ),
        (filter(json!([{"kind": "a", "to": "b"}])), "/rules/0/to"),
        (
            json!({"name": "F", "rules": [{"kind": "a"}], "otherwise": {"kind": "b"}}),
            "/otherwise/kind",
        ),
        (json!({"rules": [{"kind": "a"}]}), "/name"),
    ] {
        let refused = app.post(FILTERS, &body, "filter").await;
        assert_eq!(
            (refused.refusal(), refused.pointers()),
            ((400, "invalid_request"), vec![pointer]),
            "{body}: {}",
            refused.body
        );
    }
    let body = filter(json!([{"kind": "a", "template": "None"}]));
    let refused = app.post(FILTERS, &body, "filter").await;
    assert_eq!(refused.refusal(), (404, "template_not_found"));
    let many = json!([{"text": "a"}, {"text": "b"}]);
    let good = filter(json!([{"kind": "a"}]));
    assert_eq!(app.post(FILTERS, &good, "filter").await.status, 201);
    let records = json!({"inputs": many, "filter": "F"});
    let refused = app.post(JOBS, &records, "job_created").await;
    assert_eq!(
        (refused.refusal(), refused.pointers()),
        ((400, "invalid_request"), vec!["/filter"])
    );
}
