//! What each endpoint answers.
//!
//! Members that clients of different ages look for stand beside each other: each takes its own.

use serde_json::{Map, Value, json};

use super::NAME;
use super::endpoints::Endpoint;
use super::flat::likelihoods;
use super::jobs::named;
use crate::domain::error::Error;
use crate::domain::id::Scope;
use crate::domain::job::{Asked, JobView};
use crate::domain::record::RecordStatus;
use crate::engine::{Engine, JobResult};

/// What a page costs here.
const CREDITS: f64 = 0.0;
/// Records that are asked for at once.
const STEP: u32 = 200;
/// Between the words of several reasons.
const BETWEEN: &str = "; ";

/// The body of the endpoint that the job was asked for.
pub async fn of(engine: &Engine, scope: &Scope, result: &JobResult) -> Value {
    let found = &result.results;
    match Endpoint::of(&result.view) {
        Endpoint::Extract | Endpoint::ProjectExtract => completion(result),
        Endpoint::Parse => parsed(found, &file(engine, scope, &result.view).await),
        Endpoint::Split => split(result),
        Endpoint::Classify => classified(found),
        Endpoint::GenerateSchema => found["json_schema"].clone(),
        later => {
            let file = file(engine, scope, &result.view).await;
            kept(scope, result, later, &file)
        }
    }
}

fn usage(pages: Option<&Value>) -> Value {
    let mut usage = json!({ "credits": CREDITS });
    if let Some(pages) = pages {
        usage["page_count"] = pages.clone();
    }
    usage
}

/// The document of a job, as a file.
async fn file(engine: &Engine, scope: &Scope, view: &JobView) -> Value {
    let id = view.spec.document_id;
    // Its kind is only known for as long as it is there.
    let document = engine.document(scope, id).await.ok();
    let media_type = document.map_or("application/octet-stream", |document| {
        document.kind.media_type()
    });
    json!({
        "id": format!("file_{}", id.0.simple()),
        "filename": view.spec.document_name,
        "mime_type": media_type,
    })
}

/// What the client sent under a name.
fn asked<'a>(view: &'a JobView, name: &str) -> Option<&'a Value> {
    own_request(view)?.request.get(name)
}

/// What was asked, of a job of this dialect.
pub fn own_request(view: &JobView) -> Option<&Asked> {
    let is_own = view.spec.dialect.as_deref() == Some(NAME);
    view.spec.asked.as_ref().filter(|_| is_own)
}

/// The name of an extraction: the client's own, or one after its job.
pub fn extraction_id(view: &JobView) -> String {
    let own = asked(view, "extraction_id").and_then(Value::as_str);
    own.map_or_else(|| format!("extr_{}", view.id.0.simple()), str::to_owned)
}

/// How sure each value is; null where nobody looked.
fn sureness(result: &JobResult) -> Value {
    let known = result.attributions.as_ref();
    let tree = known.map(|attributions| likelihoods(&result.results, attributions));
    tree.filter(Value::is_object).unwrap_or_default()
}

/// An extraction in the form of a chat completion.
fn completion(result: &JobResult) -> Value {
    let view = &result.view;
    let spent = view.spent();
    let last_token_at = view.ended_at.unwrap_or(view.updated_at);
    json!({
        "id": extraction_id(view),
        "object": "chat.completion",
        "created": super::answers::seconds(view.created_at),
        "model": view.spec.config.model,
        "choices": [{
            "index": 0,
            "finish_reason": "stop",
            "logprobs": null,
            "message": {
                "role": "assistant",
                "content": result.results.to_string(),
                "parsed": result.results,
            },
        }],
        "usage": {
            "prompt_tokens": spent.prompt_token_count,
            "completion_tokens": spent.candidates_token_count + spent.thoughts_token_count,
            "total_tokens": spent.total_token_count,
        },
        "extraction_id": extraction_id(view),
        "likelihoods": sureness(result),
        "requires_human_review": view.is_partial(),
        "request_at": view.created_at,
        "first_token_at": last_token_at,
        "last_token_at": last_token_at,
    })
}

fn parsed(found: &Value, file: &Value) -> Value {
    json!({
        "document": file,
        "usage": usage(Some(&found["page_count"])),
        "pages": page_texts(found),
        "text": found["markdown"],
    })
}

fn page_texts(found: &Value) -> Value {
    let pages = found["pages"].as_array();
    pages
        .into_iter()
        .flatten()
        .map(|page| page["text"].clone())
        .collect()
}

/// Why, in one text; empty where nothing speaks for it.
fn reasoning(found: &Value) -> String {
    if let Some(reasoning) = found["reasoning"].as_str() {
        return reasoning.to_owned();
    }
    let evidence = found["evidence"].as_array();
    let quotes = evidence.into_iter().flatten().filter_map(|quote| {
        let text = quote["text"].as_str()?;
        Some(format!("Page {}: {text}", quote["page"]))
    });
    quotes.collect::<Vec<_>>().join(BETWEEN)
}

/// The name of a kind; empty text where it cannot be told. No kind has that for a name.
fn kind(found: &Value) -> &str {
    found.as_str().unwrap_or_default()
}

fn classified(found: &Value) -> Value {
    let (reasoning, category) = (reasoning(found), kind(&found["category"]));
    json!({
        "result": { "reasoning": reasoning, "classification": category },
        "classification": { "reasoning": reasoning, "category": category },
        "consensus": { "choices": [], "likelihood": found["confidence"] },
        "usage": usage(None),
    })
}

/// The pages of each kind, or of each document where a kind may be there several times.
fn splits(result: &JobResult) -> Vec<Value> {
    let known = ["subdocuments", "categories"];
    let mut known = known
        .into_iter()
        .filter_map(|name| asked(&result.view, name)?.as_array());
    let kinds = known.next();
    let is_told_apart = |name: &str| {
        let mut kinds = kinds.into_iter().flatten();
        kinds.any(|kind| kind["name"] == name && kind["allow_multiple_instances"] == true)
    };
    let mut splits: Vec<Value> = Vec::new();
    for document in result.results["documents"].as_array().into_iter().flatten() {
        let name = kind(&document["kind"]);
        let page = |name: &str| document[name].as_u64().unwrap_or_default();
        let pages: Vec<u64> = (page("first_page")..=page("last_page")).collect();
        let before = splits.iter_mut().find(|split| split["name"] == name);
        match before.filter(|_| !is_told_apart(name)) {
            Some(split) => {
                if let Some(all) = split["pages"].as_array_mut() {
                    all.extend(pages.into_iter().map(Value::from));
                }
            }
            None => splits.push(json!({ "name": name, "pages": pages, "partitions": [] })),
        }
    }
    splits
}

fn split(result: &JobResult) -> Value {
    json!({
        "splits": splits(result),
        "consensus": null,
        "usage": usage(Some(&result.results["page_count"])),
    })
}

/// The answer of an endpoint of later clients: what was asked, and the output.
fn kept(scope: &Scope, result: &JobResult, endpoint: Endpoint, file: &Value) -> Value {
    let view = &result.view;
    let id = view.id.0.simple();
    let sent = |name: &str| asked(view, name).cloned().unwrap_or_default();
    let or = |name: &str, default: Value| match sent(name) {
        Value::Null => default,
        given => given,
    };
    let mut body = json!({
        "file": file,
        "model": view.spec.config.model,
        "usage": usage(None),
        "created_at": view.created_at,
        "updated_at": view.updated_at,
    });
    let own = match endpoint {
        Endpoint::Parses => json!({
            "id": format!("prs_{id}"),
            "table_parsing_format": "markdown",
            "image_resolution_dpi": or("image_resolution_dpi", json!(192)),
            "output": { "pages": page_texts(&result.results), "text": result.results["markdown"] },
        }),
        Endpoint::Splits => json!({
            "id": format!("splt_{id}"),
            "subdocuments": or("subdocuments", sent("categories")),
            "n_consensus": 1,
            "context": sent("context"),
            "output": splits(result),
            "consensus": null,
        }),
        Endpoint::Classifications => json!({
            "id": format!("clss_{id}"),
            "categories": sent("categories"),
            "n_consensus": 1,
            "context": sent("context"),
            "output": {
                "reasoning": reasoning(&result.results),
                "category": kind(&result.results["category"]),
            },
            "consensus": { "choices": [], "likelihood": result.results["confidence"] },
        }),
        _ => json!({
            "id": extraction_id(view),
            "json_schema": or("json_schema", json!({})),
            "n_consensus": 1,
            "image_resolution_dpi": or("image_resolution_dpi", json!(192)),
            "chunking_keys": sent("chunking_keys"),
            "context": sent("context"),
            "output": result.results,
            "consensus": { "choices": [], "likelihoods": sureness(result) },
            "origin": { "type": "api", "id": null },
            "metadata": or("metadata", json!({})),
            "organization_id": scope.as_str(),
        }),
    };
    if let (Value::Object(body), Value::Object(own)) = (&mut body, own) {
        body.extend(own);
    }
    body
}

/// A job of another dialect over many records, which no endpoint here has: its records in order,
/// or the file that they are in.
pub async fn batch(engine: &Engine, scope: &Scope, view: &JobView) -> Result<Value, Error> {
    if view.spec.batch.is_some_and(|batch| batch.is_file) {
        return Ok(json!({ "output_file_id": view.output_file }));
    }
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = engine.record_results(scope, view.id, after, STEP).await?;
        let Some(last) = page.last() else {
            return Ok(json!({ "job_id": named(view.id), "records": records }));
        };
        after = Some(last.index);
        records.extend(page.iter().map(|record| {
            let mut body = Map::from_iter([
                ("id".to_owned(), json!(record.id)),
                ("index".to_owned(), json!(record.index)),
                (
                    "is_whole".to_owned(),
                    json!(record.status == RecordStatus::Succeeded),
                ),
                ("output".to_owned(), json!(record.value)),
            ]);
            if let Some((fault, message)) = &record.error {
                let error = json!({ "code": fault.name(), "message": message });
                body.insert("error".to_owned(), error);
            }
            Value::Object(body)
        }));
    }
}
