//! Schemas: save, list, look at, replace, delete, check, and what is refused.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, wide_schema};
use crate::support::provider::{Scripted, Server};
use crate::support::raw::{ask, request};

const SCHEMAS: &str = "/v1/extract/schemas";
const VALIDATE: &str = "/v1/extract/schemas/validate";
const INFER: &str = "/v1/extract/schemas/infer";

async fn create(app: &TestApp, definition: &Value) -> Value {
    let body = json!({"name": "Order", "schema_definition": definition});
    let answer = app.post(SCHEMAS, &body, "schema").await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_kept_as_it_was_sent_until_it_is_replaced_and_deleted() {
    let app = TestApp::start().run().await;
    // The order of members is the order of the result: it must survive.
    let text =
        r#"{"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}}"#;
    let definition: Value = serde_json::from_str(text).unwrap();
    let metadata = json!({"team": "payables", "nested": {"list": [1, null, true]}});
    let body = json!({
        "name": "  Order  ", "description": "What was ordered.",
        "schema_definition": definition, "metadata": metadata,
    });
    let created = app.post(SCHEMAS, &body, "schema").await;
    assert_eq!(created.status, 201);
    let place = created.headers["location"].to_str().unwrap().to_owned();
    let schema = app.get(&place, "schema").await.body;
    assert_eq!(schema, created.body);
    assert_eq!(
        (&schema["name"], &schema["metadata"]),
        (&json!("Order"), &metadata)
    );
    assert_eq!(
        schema["schema_definition"].to_string(),
        definition.to_string()
    );
    assert_eq!(schema["created_at"], schema["updated_at"]);

    let put = |body: Value| app.call(app.request(Method::PUT, &place).json(&body), "schema");
    let renamed = put(json!({"name": "Purchase", "description": null}))
        .await
        .body;
    assert_eq!(
        (&renamed["name"], &renamed["description"]),
        (&json!("Purchase"), &Value::Null)
    );
    assert_eq!(
        renamed["schema_definition"], definition,
        "what is not sent stays"
    );
    assert_eq!(renamed["metadata"], metadata);
    assert_eq!(renamed["created_at"], schema["created_at"]);
    let refused = put(json!({"schema_definition": {"type": "money"}})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.pointers()),
        (422, vec!["/schema_definition/type"])
    );
    assert_eq!(
        app.get(&place, "schema").await.body,
        renamed,
        "a refused change changes nothing"
    );

    create(&app, &json!(true)).await;
    let list = app
        .get(&format!("{SCHEMAS}?search=PURCH&limit=1"), "schema_list")
        .await
        .body;
    assert_eq!(
        (list["total_count"].as_u64(), &list["schemas"][0]),
        (Some(1), &renamed)
    );
    let list = app
        .get(&format!("{SCHEMAS}?limit=1"), "schema_list")
        .await
        .body;
    assert_eq!(
        (list["total_count"].as_u64(), &list["schemas"][0]["name"]),
        (Some(2), &json!("Order"))
    );
    let next = format!(
        "{SCHEMAS}?limit=1&cursor={}",
        list["next_cursor"].as_str().unwrap()
    );
    assert_eq!(
        app.get(&next, "schema_list").await.body["schemas"][0],
        renamed
    );

    assert_eq!(app.delete(&place).await.status, 200);
    let gone = app.get(&place, "schema").await;
    assert_eq!(gone.refusal(), (404, "schema_not_found"));
    assert_eq!(put(json!({"name": "x"})).await.status, 404);
    assert_eq!(app.delete(&place).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_keeps_the_schema_it_began_with() {
    let scripted = Scripted::gated();
    let provider = Arc::new(Server(scripted.clone()));
    let app = TestApp::start().provider(provider).run().await;
    let id = create(&app, &wide_schema(3)).await["schema_id"].clone();
    let body = json!({"document_id": app.document().await, "schema_id": id});
    let mut stream = app.stream(&body).await;
    let job = stream.headers["x-job-id"].to_str().unwrap().to_owned();
    stream.until("job_status").await;
    let place = format!("{SCHEMAS}/{}", id.as_str().unwrap());
    let replaced = app
        .request(Method::PUT, &place)
        .json(&json!({"schema_definition": wide_schema(1)}));
    assert_eq!(app.call(replaced, "schema").await.status, 200);
    scripted.pass(1);
    stream.until("subtree_result").await;
    assert_eq!(app.delete(&place).await.status, 200);
    scripted.pass(9);
    assert_eq!(
        stream.rest().await.last().unwrap().payload()["subtrees_succeeded"],
        3
    );
    assert_eq!(
        app.results(&job).await.body["results"]
            .as_object()
            .unwrap()
            .len(),
        3
    );
    let shown = app
        .get(&format!("/v1/extract/jobs/{job}"), "job")
        .await
        .body;
    assert_eq!(shown["schema_id"], id);
    let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
    assert_eq!(refused.refusal(), (404, "schema_not_found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_the_plan_that_a_job_would_have_or_every_fault_by_its_place() {
    let app = TestApp::start().run().await;
    let definition = json!({"type": "object", "properties": {
        "number": {"type": "string"},
        "seller": {"$ref": "#/$defs/party"}, "buyer": {"$ref": "#/$defs/party"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"text": {"type": "string"}}}},
    }, "$defs": {"party": {"type": "object", "properties": {
        "a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"},
    }}}});
    let checked = app
        .post(
            VALIDATE,
            &json!({"schema_definition": definition}),
            "schema_validation",
        )
        .await;
    assert_eq!(
        (checked.status.as_u16(), &checked.body["valid"]),
        (200, &json!(true))
    );
    let plan = &checked.body["plan"];
    let job = json!({"document": "Number: 7", "schema": definition});
    let start = app
        .stream(&job)
        .await
        .until("start")
        .await
        .remove(0)
        .payload();
    for member in ["subtrees", "total_subtrees", "total_fields"] {
        assert_eq!(plan[member], start[member], "{member}");
    }
    let subtrees = plan["subtrees"].as_array().unwrap();
    let mut paths: Vec<_> = subtrees
        .iter()
        .map(|s| s["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["", "/buyer", "/lines", "/seller"]);

    let faulty = json!({"type": "object", "properties": {
        "a/b~c": {"type": "money"}, "d": {"minLength": -1}, "e": {"$ref": "#/$defs/nothing"},
    }});
    let checked = app
        .post(
            VALIDATE,
            &json!({"schema_definition": faulty}),
            "schema_validation",
        )
        .await;
    assert_eq!(
        (checked.status.as_u16(), &checked.body["valid"]),
        (200, &json!(false))
    );
    for pointer in ["/properties/a~1b~0c/type", "/properties/d/minLength"] {
        let at = faulty.pointer(pointer);
        assert!(
            at.is_some() && checked.pointers().contains(&pointer),
            "{}",
            checked.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_to_a_stored_schema_by_its_id_is_followed() {
    let app = TestApp::start().run().await;
    let text = || json!({"type": "string"});
    let line = json!({
        "$id": "https://example.com/parts/line.json",
        "type": "object",
        "properties": {"text": text(), "of": {"$ref": "../order.json"}},
    });
    let lines = json!({"type": "array", "items": {"$ref": "parts/line.json"}});
    let order = json!({
        "$id": "https://example.com/order.json",
        "type": "object",
        "properties": {"number": text(), "day": text(), "buyer": text(), "lines": lines},
    });
    let job = json!({
        "type": "object",
        "properties": {"order": {"$ref": "https://example.com/order.json#"}, "place": text()},
    });
    let check = async |definition: &Value| {
        let body = json!({"schema_definition": definition});
        app.post(VALIDATE, &body, "schema_validation").await.body
    };
    // Nothing is stored yet: the URL is named, and what to do about it.
    let refused = check(&job).await;
    let told = refused["errors"][0]["message"].as_str().unwrap();
    assert!(told.contains("https://example.com/order.json"), "{told}");
    assert!(told.contains("POST /v1/extract/schemas"), "{told}");
    assert_eq!(refused["errors"][0]["pointer"], "/properties/order/$ref");

    create(&app, &json!({"$id": "https://example.com/parts/line.json", "type": "object", "properties": {"text": text()}})).await;
    create(&app, &order).await;
    create(&app, &line).await;
    let checked = check(&job).await;
    assert_eq!(checked["valid"], true, "{checked}");
    let paths = |plan: &Value| -> Vec<String> {
        let subtrees = plan["subtrees"].as_array().unwrap().iter();
        subtrees
            .map(|s| s["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(paths(&checked["plan"]), ["", "/order", "/order/lines"]);
    let body = json!({"document": "Number: 7", "schema": job});
    let start = app
        .stream(&body)
        .await
        .until("start")
        .await
        .remove(0)
        .payload();
    assert_eq!(paths(&start), paths(&checked["plan"]));

    let other = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"order": {"$ref": "https://example.com/order.json"}},
    });
    let refused = check(&other).await;
    let told = refused["errors"][0]["message"].as_str().unwrap();
    assert!(told.contains("another dialect"), "{told}");
}

/// A good body with one member that is not.
fn with(name: &str, value: Value) -> Value {
    let mut body = json!({"name": "x", "schema_definition": {}});
    body[name] = value;
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_schema_are_refused_by_their_place() {
    let app = TestApp::start().run().await;
    let long = "x".repeat(20_000);
    for (body, pointer, says) in [
        (json!([]), "", "object"),
        (json!({"schema_definition": {}}), "/name", "name"),
        (json!({"name": "x"}), "/schema_definition", "missing"),
        (with("name", json!(7)), "/name", "text"),
        (with("name", json!("  ")), "/name", "1 to 200"),
        (with("name", json!(long[..201])), "/name", "1 to 200"),
        (with("description", json!({})), "/description", "or null"),
        (with("description", json!(long)), "/description", "10000"),
        (with("metadata", json!([1])), "/metadata", "object"),
        (with("metadata", json!({"m": long})), "/metadata", "16384"),
        (with("colour", json!(1)), "/colour", "name, description"),
        (with("a/b~c", json!(1)), "/a~1b~0c", "no such member"),
    ] {
        let refused = app.post(SCHEMAS, &body, "schema").await;
        assert_eq!(refused.refusal(), (400, "invalid_request"), "{body}");
        assert_eq!(refused.pointers(), [pointer]);
        let message = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    let remote = json!({"properties": {"a": {"$ref": "https://schemas.example/a.json#/x"}}});
    for (definition, pointer, says) in [
        (json!("{}"), "", "object or a boolean"),
        (json!({"type": "money"}), "/type", "money"),
        (remote, "/properties/a/$ref", "https://schemas.example/a"),
    ] {
        let body = with("schema_definition", definition);
        let refused = app.post(SCHEMAS, &body, "schema").await;
        assert_eq!(refused.refusal(), (422, "invalid_schema"));
        assert_eq!(refused.pointers(), [format!("/schema_definition{pointer}")]);
        let message = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    // A name of any length is not thrown back whole.
    let body = with(&long, json!(1));
    let refused = app.post(SCHEMAS, &body, "schema").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.to_string().len() < 2_000);
    let list = app.get(SCHEMAS, "schema_list").await;
    assert_eq!(list.body["total_count"], 0, "what is refused is not stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_json_are_refused_by_what_they_are() {
    let app = TestApp::start().run().await;
    let deep = vec![b'['; 1_000];
    let large = vec![b' '; (2 << 20) + 1];
    for path in [SCHEMAS, VALIDATE] {
        for (body, status, code, says) in [
            (&b"{\"name\": \"x\",}"[..], 400, "invalid_json", "column 14"),
            (b"", 400, "invalid_json", "EOF"),
            (b"{\"name\": \"\xff\"}", 400, "invalid_json", "column"),
            (&deep, 400, "invalid_json", "recursion"),
            (&large, 413, "too_large", "2097152"),
        ] {
            let request = request("POST", path, "application/json", body);
            let answer = ask(app.app.address, &request).await;
            assert_eq!((answer.status, &*answer.code()), (status, code));
            assert!(answer.detail().contains(says), "{}", answer.detail());
        }
        // Types that any page of the web may post from a stranger's browser are none of them.
        let form = "application/x-www-form-urlencoded";
        for content_type in ["text/plain", form, "multipart/form-data; boundary=x", ""] {
            let answer = ask(app.app.address, &request("POST", path, content_type, b"{}")).await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (415, "unsupported_media_type")
            );
            let sent = content_type.split(';').next().unwrap();
            assert!(answer.detail().contains(sent), "{}", answer.detail());
        }
    }
    let good = with("name", json!("x")).to_string();
    let request = request(
        "POST",
        SCHEMAS,
        "Application/Problem+JSON; a=b",
        good.as_bytes(),
    );
    assert_eq!(ask(app.app.address, &request).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_makes_extraction_worse_is_valid_and_says_where() {
    let app = TestApp::start().run().await;
    let definition = json!({
        "type": "object",
        "required": ["gone"],
        "properties": {"number": {"type": "string"}, "grid": {"description": "Cells", "items": {"type": "array"}}},
        "additionalProperties": false,
    });
    let body = json!({"schema_definition": definition});
    let checked = app.post(VALIDATE, &body, "schema_validation").await;
    assert_eq!(checked.body["valid"], true);
    let warnings = checked.body["warnings"].as_array().unwrap();
    let told: Vec<_> = warnings
        .iter()
        .map(|one| {
            (
                one["pointer"].as_str().unwrap(),
                one["topic"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("/required/0", "contradictory_required"),
        ("/properties/number", "missing_description"),
        ("/properties/grid/items", "array_of_arrays"),
    ];
    assert_eq!(told, expected);
    assert_eq!(checked.body["total_warnings"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_made_from_examples_and_a_job_takes_it() {
    let app = TestApp::start().run().await;
    let examples = json!({"examples": [
        {"invoice_number": "R-17", "issued": "2026-03-01", "lines": [{"text": "Bolts", "total": 12.5}]},
        {"invoice_number": "R-18", "issued": null, "lines": []},
    ]});
    let made = app.post(INFER, &examples, "schema_inferred").await;
    assert_eq!(made.status.as_u16(), 200);
    let definition = &made.body["schema_definition"];
    let issued = &definition["properties"]["issued"];
    assert_eq!(
        *issued,
        json!({"type": ["string", "null"], "format": "date"})
    );
    assert!(!definition.to_string().contains("R-17"));
    let validator = jsonschema::validator_for(definition).unwrap();
    for example in examples["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example));
    }
    let job = json!({"document": "Invoice number: 7", "schema": definition});
    let start = app
        .stream(&job)
        .await
        .until("start")
        .await
        .remove(0)
        .payload();
    assert_eq!(start["total_subtrees"], made.body["plan"]["total_subtrees"]);

    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!({"a": deep});
    }
    for (body, refusal) in [
        (json!({"examples": []}), (400, "invalid_request")),
        (
            json!({"examples": [1], "name": "x"}),
            (400, "invalid_request"),
        ),
        (json!({"examples": [deep]}), (422, "schema_too_complex")),
    ] {
        let refused = app.post(INFER, &body, "problem").await;
        assert_eq!(refused.refusal(), refusal);
    }
}
