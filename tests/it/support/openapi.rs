//! The published OpenAPI document, and answers held against it.

use std::sync::LazyLock;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// The document as it stands in the repository: paths, without the schemas of bodies.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let file = super::app::file("schemas/openapi.json");
    serde_json::from_slice(&file).unwrap()
});

/// The words for methods that a path may have in the document.
pub const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Headers that tell a client what to do next: an answer that has one must say so.
const TELLING: [&str; 7] = [
    "www-authenticate",
    "location",
    "retry-after",
    "x-job-id",
    "x-stream-protocol",
    "x-idempotent-replay",
    "content-disposition",
];

/// The operation for a path as requested; `None` when no such path and method is published.
pub fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let plain = paths.get(path);
    let item = plain.or_else(|| {
        let fitting = paths.iter().find(|(template, _)| fits(template, path));
        fitting.map(|(_, item)| item)
    });
    item.and_then(|item| item.get(method.to_ascii_lowercase()))
}

fn fits(template: &str, path: &str) -> bool {
    let (wanted, given) = (template.split('/'), path.split('/'));
    wanted.clone().count() == given.clone().count()
        && wanted
            .zip(given)
            .all(|(wanted, given)| wanted == given || wanted.starts_with('{') && !given.is_empty())
}

/// Every path, method and operation of the document.
pub fn operations() -> impl Iterator<Item = (&'static str, Method, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let members = item.as_object().unwrap().iter();
        let operations = members.filter(|(name, _)| METHODS.contains(&name.as_str()));
        operations.map(move |(name, operation)| {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            (path.as_str(), method, operation)
        })
    })
}

/// A path with something in the place of each name in braces.
pub fn filled(path: &str, value: &str) -> String {
    let parts = path.split('/');
    let parts = parts.map(|part| if part.starts_with('{') { value } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The responses of an operation by status, references followed.
pub fn responses(
    operation: &'static Value,
) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let all = operation["responses"].as_object().unwrap().iter();
    all.map(|(status, response)| (status.as_str(), resolve(response)))
}

fn resolve(node: &'static Value) -> &'static Value {
    let pointer = node["$ref"].as_str().and_then(|r| r.strip_prefix('#'));
    pointer.map_or(node, |pointer| DOCUMENT.pointer(pointer).unwrap())
}

/// Codes that a response of the document names.
pub fn codes(response: &Value) -> Vec<&str> {
    let codes = response["x-codes"].as_array();
    let codes = codes.into_iter().flatten();
    codes.map(|code| code.as_str().unwrap()).collect()
}

/// Asserts that the document knows this answer: its status, its code, its telling headers.
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &Value) {
    let code = body["code"]
        .as_str()
        .or_else(|| body["error"]["code"].as_str())
        .or_else(|| body["detail"]["code"].as_str());
    let code = code.filter(|_| status >= 400).map(str::to_ascii_lowercase);
    let code = code.as_deref();
    let anywhere = DOCUMENT["x-codes-anywhere"].as_array().unwrap();
    if code.is_some_and(|code| anywhere.iter().any(|known| known == code)) {
        return;
    }
    let operation = operation(method, path)
        .unwrap_or_else(|| panic!("{method} {path} answers {status} and is not published"));
    let response = resolve(&operation["responses"][status.to_string()]);
    assert!(
        response.is_object(),
        "{method} {path} answers {status}, which is not published: {body}"
    );
    if let Some(code) = code {
        assert!(
            codes(response).contains(&code),
            "{method} {path} answers {status} `{code}`, which is not published"
        );
    }
    let published = response["headers"].as_object();
    let published: Vec<String> = published
        .into_iter()
        .flatten()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    for name in TELLING {
        assert!(
            !headers.contains_key(name) || published.iter().any(|known| known == name),
            "{method} {path} answers {status} with `{name}`, which is not published"
        );
    }
}
