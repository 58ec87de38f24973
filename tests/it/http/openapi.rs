//! The OpenAPI document: whole by its own rules, and what the server does.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, file};
use crate::support::openapi::{DOCUMENT, METHODS, check, filled};

const NOBODY: &str = "018f3c1e-7d4a-7c3b-9d52-3f1f0e6a9b11";

async fn served(app: &TestApp) -> Value {
    let answer = app
        .request(Method::GET, "/openapi.json")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    answer.json().await.unwrap()
}

/// Every node of a document with its pointer.
fn walk<'a>(node: &'a Value, at: &str, see: &mut impl FnMut(&str, &'a Value)) {
    see(at, node);
    match node {
        Value::Object(members) => members.iter().for_each(|(key, part)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            walk(part, &format!("{at}/{key}"), see);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, part)| {
            walk(part, &format!("{at}/{index}"), see);
        }),
        _ => {}
    }
}

/// A `$ref` followed in its document.
fn resolve<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    let Some(reference) = node["$ref"].as_str() else {
        return node;
    };
    let pointer = reference
        .strip_prefix('#')
        .expect("a place in the document");
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Every path, method and operation.
fn operations(document: &Value) -> Vec<(&str, Method, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let every = paths.iter().flat_map(|(path, item)| {
        let members = item.as_object().unwrap().iter();
        let operations = members.filter(|(name, _)| METHODS.contains(&name.as_str()));
        operations.map(move |(name, operation)| {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            (path.as_str(), method, operation)
        })
    });
    every.collect()
}

fn parameters<'a>(document: &'a Value, path: &str, operation: &'a Value) -> Vec<&'a Value> {
    let shared = document["paths"][path]["parameters"].as_array();
    let own = operation["parameters"].as_array();
    let both = shared.into_iter().chain(own).flatten();
    both.map(|parameter| resolve(document, parameter)).collect()
}

fn names_in_braces(path: &str) -> BTreeSet<&str> {
    let parts = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    parts.collect()
}

/// Every answer of an operation has what the rules ask for.
fn assert_answers_described(document: &Value, id: &str, operation: &Value) {
    let responses = operation["responses"].as_object().unwrap();
    assert!(
        responses
            .keys()
            .any(|status| status.starts_with(['2', '3'])),
        "{id}"
    );
    for (status, response) in responses {
        let response = resolve(document, response);
        assert!(
            status.len() == 3 && status.parse::<u16>().is_ok(),
            "{id}: {status}"
        );
        assert!(
            response["description"].is_string(),
            "{id}: {status} is not described"
        );
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            assert!(
                resolve(document, header)["schema"].is_object(),
                "{id}: {name}"
            );
        }
        for (media_type, content) in response["content"].as_object().into_iter().flatten() {
            assert!(content["schema"].is_object(), "{id}: {status} {media_type}");
        }
        if status == "201" {
            assert!(
                response["headers"]["Location"].is_object(),
                "{id} creates without Location"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_whole_by_the_rules_of_openapi() {
    let document = served(&TestApp::start().run().await).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    walk(&document, "", &mut |at, node| {
        // Not a keyword where it is the name of a property.
        if node["$ref"].is_string() && !at.ends_with("/properties") {
            resolve(&document, node);
        }
    });
    let tags: HashSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut ids = HashSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "two operations are called {id}");
        assert!(operation["summary"].is_string(), "{id} has no summary");
        assert!(
            operation["tags"]
                .as_array()
                .unwrap()
                .iter()
                .all(|tag| tags.contains(tag)),
            "{id}"
        );
        let parameters = parameters(&document, path, operation);
        let mut seen = HashSet::new();
        for parameter in &parameters {
            let key = (
                parameter["name"].as_str().unwrap(),
                parameter["in"].as_str().unwrap(),
            );
            assert!(seen.insert(key), "{id} has {key:?} twice");
            assert!(
                ["path", "query", "header", "cookie"].contains(&key.1),
                "{id}: {key:?}"
            );
            assert!(
                parameter["schema"].is_object(),
                "{id}: {key:?} has no schema"
            );
            assert!(
                key.1 != "path" || parameter["required"] == true,
                "{id}: {key:?}"
            );
        }
        let declared = seen
            .iter()
            .filter(|(_, place)| *place == "path")
            .map(|(name, _)| *name);
        assert_eq!(
            declared.collect::<BTreeSet<_>>(),
            names_in_braces(path),
            "{id}"
        );
        let takes_body = operation["requestBody"]["content"].is_object();
        assert!(
            !takes_body || [Method::POST, Method::PUT].contains(&method),
            "{id}"
        );
        assert_answers_described(&document, id, operation);
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut used = HashSet::new();
    walk(&document, "", &mut |_, node| {
        let name = node["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix("#/components/schemas/"));
        used.extend(name.and_then(|name| name.split('/').next()));
    });
    let unused: Vec<_> = schemas
        .keys()
        .filter(|name| !used.contains(name.as_str()))
        .collect();
    assert_eq!(unused, ["ping"], "the name `ping` is only reserved");
}

/// Every path with the methods it has, sorted, and names in braces left out.
fn published_routes(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut routes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (path, method, _) in operations(document) {
        let methods = routes.entry(filled(path, "{}")).or_default();
        methods.insert(method.to_string());
    }
    routes
}

/// A word of an error, in whatever dialect it is told.
fn word(body: &Value, name: &str) -> String {
    let message = if name == "detail" { "message" } else { name };
    let told = body[name].as_str();
    let told = told.or_else(|| body["error"][message].as_str());
    let told = told.or_else(|| body["detail"][message].as_str());
    let told = told.unwrap_or_default();
    // One dialect says its codes in capital letters.
    if name == "code" {
        told.to_ascii_lowercase()
    } else {
        told.to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_published_operation_answers_and_no_other_method_does() {
    let app = TestApp::start().run().await;
    let document = served(&app).await;
    let policy = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().no_proxy().redirect(policy);
    let client = client.build().unwrap();
    for (path, published) in published_routes(&document) {
        let path = filled(&path, NOBODY);
        for method in METHODS.into_iter().chain(["purge"]) {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let request = client.request(method.clone(), app.url(&path));
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = answer.text().await.unwrap();
            if published.contains(method.as_str()) {
                assert_ne!(status, 405, "{method} {path}");
                let body: Value = serde_json::from_str(&body).unwrap_or_default();
                let is_file = path == format!("/console/{NOBODY}");
                let code = word(&body, "code");
                assert_eq!(code == "not_found", is_file, "{method} {path}");
                check(method.as_str(), &path, status, &headers, &body);
                continue;
            }
            assert_eq!(status, 405, "{method} {path}");
            let allow: BTreeSet<_> = headers["allow"].to_str().unwrap().split(", ").collect();
            assert!(
                published.iter().map(String::as_str).eq(allow),
                "{method} {path}"
            );
            if method == Method::HEAD {
                assert_eq!(body, "");
                continue;
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(word(&body, "code"), "method_not_allowed");
            let detail = word(&body, "detail");
            assert!(detail.contains(method.as_str()), "{detail}");
        }
    }
}

#[test]
fn every_route_in_the_source_is_published_with_its_methods() {
    let mut routes = BTreeMap::new();
    for name in [
        "console",
        "extraction_jobs",
        "ops",
        "native/documents",
        "native/events",
        "native/files",
        "native/filters",
        "structflow",
        "retab",
        "parseflow",
        "native/jobs",
        "native/mod",
        "native/operations",
        "native/plans",
        "native/records",
        "native/review",
        "native/schemas",
        "native/templates",
        "native/tickets",
        "native/webhooks",
    ] {
        let source = String::from_utf8(file(&format!("src/http/{name}.rs"))).unwrap();
        let base = if name.starts_with("native") {
            "/v1/extract"
        } else {
            ""
        };
        let source: String = source.split_whitespace().collect();
        for call in source.split("resource(\"").skip(1) {
            let (path, rest) = call.split_once("\",[").unwrap();
            let list = rest.split("])").next().unwrap();
            let methods = list.split("on(Method::").skip(1);
            let methods = methods.map(|method| method.split(',').next().unwrap().to_owned());
            routes.insert(
                format!("{base}{}", filled(path, "{}")),
                methods.collect::<BTreeSet<_>>(),
            );
        }
    }
    assert!(routes.len() > 15, "{routes:?}");
    assert_eq!(routes, published_routes(&DOCUMENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_in_a_path_is_refused_when_it_is_none_and_when_nothing_has_it() {
    let app = TestApp::start().run().await;
    let mut asked = 0;
    for (path, method, _) in operations(&DOCUMENT) {
        let Some(noun) = [
            "document", "schema", "template", "filter", "job", "webhook", "file",
        ]
        .into_iter()
        .find(|noun| path.contains(&format!("{{{noun}_id}}"))) else {
            continue;
        };
        if path.starts_with("/console/") {
            continue;
        }
        asked += 1;
        for (id, status, code) in [
            ("7", 400, format!("invalid_{noun}_id")),
            ("..%2f..%2fetc", 400, format!("invalid_{noun}_id")),
            ("%00", 400, format!("invalid_{noun}_id")),
            (NOBODY, 404, format!("{noun}_not_found")),
        ] {
            let mut request = app.request(method.clone(), &filled(path, id));
            if method == Method::PUT {
                request = request.json(&json!({}));
            }
            let refused = request.send().await.unwrap();
            let (told, body) = (refused.status().as_u16(), refused.json::<Value>().await);
            let body = body.unwrap();
            let refused = (told, word(&body, "code"));
            assert_eq!(refused, (status, code), "{method} {path} with {id}");
        }
    }
    assert!(asked >= 11, "{asked} operations take an id");
}
