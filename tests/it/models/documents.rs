//! Documents that a model is given as they are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rivulet::document::sandbox::Sandbox;
use rivulet::domain::prompt;
use rivulet::engine::Outside;
use serde_json::{Value, json};

use super::{WIRES, model_of, only, provider};
use crate::support::app::{TestApp, file as file_of};
use crate::support::model::reply::End;
use crate::support::model::{Asked, Honest, Reply, Server, Wire};
use crate::support::pdf;

fn schema() -> Value {
    let part = || {
        json!({"type": "object", "properties": {
            "number": {"type": ["string", "null"]}, "total": {"type": ["number", "null"]},
            "city": {"type": ["string", "null"]}, "paid": {"type": ["boolean", "null"]}}})
    };
    json!({"type": "object", "properties": {"head": part(), "seller": part()}})
}

/// A picture of 2 x 1 pixels, as far as its header; nobody here decodes more.
fn png() -> Vec<u8> {
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x01\x08\0\0\0\0".to_vec()
}

fn jpeg() -> Vec<u8> {
    b"\xff\xd8\xff\xc0\0\x0b\x08\0\x01\0\x02\x01\x01\x11\0\xff\xd9".to_vec()
}

async fn app(server: &Server, wire: Wire, model: &str) -> TestApp {
    let provider = provider(server, wire, true);
    TestApp::start()
        .set("default_model", model)
        .build(move |builder| builder.providers(only(&provider)))
        .run()
        .await
}

async fn body(app: &TestApp, bytes: Vec<u8>, config: Value) -> Value {
    let document = app.upload("scan", bytes).await;
    assert_eq!(document.status, 201, "{}", document.body);
    json!({"document_id": document.body["document_id"], "schema": schema(), "config": config})
}

/// The parts of the user's turn.
fn parts(asked: &Asked) -> &[Value] {
    let parts = match asked.wire {
        Wire::Gemini => asked.json.pointer("/contents/0/parts"),
        Wire::OpenAi => asked.json.pointer("/messages/1/content"),
        Wire::Anthropic => asked.json.pointer("/messages/0/content"),
    };
    parts.unwrap().as_array().unwrap()
}

/// Media type and bytes of a part.
fn file(wire: Wire, part: &Value) -> (String, Vec<u8>) {
    let text = |pointer: &str| Some(part.pointer(pointer)?.as_str().unwrap().to_owned());
    let (kind, data) = match wire {
        Wire::Gemini => (text("/inlineData/mimeType"), text("/inlineData/data")),
        Wire::OpenAi => {
            let url = text("/file/file_data")
                .or_else(|| text("/image_url/url"))
                .unwrap();
            let (head, data) = url.split_once(";base64,").unwrap();
            let kind = head.strip_prefix("data:").unwrap();
            (Some(kind.to_owned()), Some(data.to_owned()))
        }
        Wire::Anthropic => (text("/source/media_type"), text("/source/data")),
    };
    (kind.unwrap(), STANDARD.decode(data.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_comes_first_and_is_the_same_in_every_call_of_a_job() {
    for wire in WIRES {
        for (bytes, kind, config, form) in [
            (pdf::picture_only(), "application/pdf", json!({}), "native"),
            (
                pdf::with_text("Number: R-1017"),
                "application/pdf",
                json!({"document_input": "native"}),
                "native",
            ),
            (png(), "image/png", json!({}), "pages"),
            (
                jpeg(),
                "image/jpeg",
                json!({"document_input": "pages"}),
                "pages",
            ),
        ] {
            let server = Server::start();
            let table = || Honest::table([("number", json!("R-1017"))]);
            server.answers(move |asked| table().answer(asked));
            server.next([Reply::honest().ending(End::Cut)]);
            let app = app(&server, wire, model_of(wire)).await;
            let body = body(&app, bytes.clone(), config).await;
            let job = app.submit(&body).await;
            let end = app.end_of(&job).await;
            assert_eq!(end["partial"], false, "{wire:?} {end}");

            let asked = server.asked();
            assert_eq!(asked.len(), 2, "{wire:?} {kind}: the first answer was cut");
            for one in &asked {
                let parts = parts(one);
                assert_eq!(
                    file(wire, &parts[0]),
                    (kind.to_owned(), bytes.clone()),
                    "{wire:?}"
                );
                assert_eq!(parts.len(), 2, "{wire:?}: the file and the task");
                assert!(
                    one.task().starts_with("The document is attached."),
                    "{}",
                    one.task()
                );
                assert_eq!(parts[0], self::parts(&asked[0])[0], "{wire:?}");
            }
            let results = app.results(&job).await.body;
            assert_eq!(results["results"]["head"]["number"], "R-1017", "{wire:?}");
            assert_eq!(results["config"]["document_input"], form, "{wire:?}");
            let version = results["metadata"]["prompt_version"].as_str().unwrap();
            assert!(version.starts_with(prompt::VERSION), "{version}");

            // Once more: nothing is asked.
            let again = app.end_of(&app.submit(&body).await).await;
            assert_eq!(again["usage_metadata"]["reused_subtree_count"], 2);
            assert_eq!(server.count(), 2, "{wire:?} {kind}");
        }
    }
}

/// The server of [`app`], with this program to draw with.
async fn drawing(server: &Server, wire: Wire, model: &str, program: &str) -> TestApp {
    let provider = provider(server, wire, true);
    let sandbox = Sandbox::of(program.into());
    TestApp::start()
        .set("default_model", model)
        .build(move |builder| {
            builder
                .providers(only(&provider))
                .rewire(|outside| Outside {
                    reader: Arc::new(sandbox),
                    ..outside
                })
        })
        .run()
        .await
}

fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG"));
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (side(16), side(20))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_pdf_go_as_pictures_in_their_order() {
    let five = file_of("tests/fixtures/documents/tabula-schools-rotated.pdf");
    for (wire, model, bytes, config, count, shape) in [
        // Sees pictures and takes no PDF: a scan is drawn unasked.
        (
            Wire::OpenAi,
            "gpt-6-sol",
            pdf::picture_only(),
            json!({}),
            1,
            (1_271, 1_799),
        ),
        (
            Wire::Anthropic,
            "claude-haiku-4-5",
            five,
            json!({"document_input": "pages"}),
            5,
            (1_800, 1_390),
        ),
    ] {
        let server = Server::start();
        server.next([Reply::honest().ending(End::Cut)]);
        let app = drawing(&server, wire, model, env!("CARGO_BIN_EXE_rivulet")).await;
        let body = body(&app, bytes, config).await;
        let job = app.submit(&body).await;
        let end = app.end_of(&job).await;
        assert_eq!(end["partial"], false, "{wire:?} {end}");
        let asked = server.asked();
        assert_eq!(asked.len(), 2, "{wire:?}");
        let all = parts(&asked[0]);
        assert_eq!(all.len(), count + 1, "{wire:?}: the pages and the task");
        assert_eq!(all[..count], parts(&asked[1])[..count], "{wire:?}");
        let mut seen = Vec::new();
        for part in &all[..count] {
            let (kind, png) = file(wire, part);
            let (width, height) = size(&png);
            let is_near = width.abs_diff(shape.0) <= 2 && height.abs_diff(shape.1) <= 2;
            assert!(kind == "image/png" && is_near, "{kind} {width} x {height}");
            seen.push(png);
        }
        seen.dedup();
        assert_eq!(seen.len(), count, "each page is another picture");
        let results = app.results(&job).await.body;
        assert_eq!(results["config"]["document_input"], "pages");
        app.end_of(&app.submit(&body).await).await;
        assert_eq!(server.count(), 2, "{wire:?}: nothing is asked again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_pages_cannot_be_drawn_fails_with_the_reason_and_asks_nobody() {
    let server = Server::start();
    let app = drawing(&server, Wire::OpenAi, "gpt-6-sol", "/bin/false").await;
    let body = body(&app, pdf::picture_only(), json!({})).await;
    let end = app.end_of(&app.submit(&body).await).await;
    assert_eq!(
        (&end["status"], &end["error_type"]),
        (&json!("failed"), &json!("document_unreadable")),
        "{end}"
    );
    let said = end["error_message"].as_str().unwrap();
    assert!(said.contains("cannot be made into a picture"), "{said}");
    assert_eq!(server.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_text_is_no_answer_to_the_file() {
    let wire = Wire::Gemini;
    let server = Server::start();
    let app = app(&server, wire, model_of(wire)).await;
    let mut body = body(&app, pdf::with_text("Number: R-1017"), json!({})).await;
    for (form, calls) in [("auto", 1), ("text", 1), ("native", 2), ("native", 2)] {
        body["config"]["document_input"] = json!(form);
        app.end_of(&app.submit(&body).await).await;
        assert_eq!(server.count(), calls, "{form}");
    }
    let kinds: Vec<_> = server
        .asked()
        .iter()
        .map(|one| parts(one)[0].clone())
        .collect();
    assert!(kinds[0]["text"].as_str().unwrap().contains("R-1017"));
    assert!(kinds[1]["inlineData"].is_object());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_model_reads_off_a_scan_is_never_verified() {
    for wire in WIRES {
        let server = Server::start();
        let quotes = json!([{"at": "/number", "text": "Number: R-1017", "page": 1}]);
        let rows = [
            ("quotes", quotes),
            ("number", json!("R-1017")),
            ("total", json!(12.5)),
        ];
        server.answers(move |asked| Honest::table(rows.clone()).answer(asked));
        let app = app(&server, wire, model_of(wire)).await;
        let config = json!({"per_key_attribution": true});
        let body = body(&app, pdf::picture_only(), config).await;
        let job = app.submit(&body).await;
        app.end_of(&job).await;
        let results = app.results(&job).await.body;
        assert_eq!(
            results["results"]["head"]["number"], "R-1017",
            "{wire:?} {results}"
        );
        let leaves = results["attributions"].as_object().unwrap();
        let verdict = |at: &str| leaves[at]["verdict"].as_str().unwrap();
        assert_eq!(verdict("/head/number"), "not_found", "{wire:?}");
        assert_eq!(verdict("/head/total"), "none", "{wire:?}");
        assert!(
            leaves.values().all(|leaf| leaf["verdict"] != "verified"),
            "{wire:?}"
        );
        let confidence = leaves["/head/number"]["confidence"].as_f64().unwrap();
        assert!(confidence <= 0.3, "{confidence}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_cannot_take_it_is_not_asked() {
    let server = Server::start();
    // Sees pictures and takes no PDF.
    let app = app(&server, Wire::OpenAi, "gpt-6-sol").await;
    let text = body(&app, pdf::with_text("Number: R-1017"), json!({})).await;
    let picture = body(&app, png(), json!({})).await;
    for (body, form, says) in [
        (
            &text,
            "native",
            "the model `gpt-6-sol` takes `text`, `pages`",
        ),
        (
            &picture,
            "text",
            "the document has no text. With this document and this model: `pages`, `auto`",
        ),
        (&picture, "native", "a picture is sent as `pages`"),
    ] {
        let mut body = body.clone();
        body["config"]["document_input"] = json!(form);
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(refused.refusal(), (422, "invalid_config"), "{form}");
        assert_eq!(refused.pointers(), ["/config/document_input"]);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    }
    assert_eq!(server.count(), 0);
    let models = app.get("/v1/extract/models", "model_list").await.body;
    let models = models["models"].as_array().unwrap();
    let model = models
        .iter()
        .find(|model| model["id"] == "gpt-6-sol")
        .unwrap();
    assert_eq!(model["document_inputs"], json!(["text", "pages"]));
    assert_eq!(model["attachment_limits"]["pictures"], 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_of_no_use_to_the_embedded_extractor_and_both_say_so() {
    let app = TestApp::start().set("default_model", "layout").run().await;
    for (bytes, kind, input) in [
        (png(), "image/png", "`pages`"),
        (pdf::picture_only(), "application/pdf", "`native`"),
    ] {
        let upload = app.upload("scan", bytes.clone()).await.body;
        assert_eq!(
            (&upload["media_type"], &upload["has_text"]),
            (&json!(kind), &json!(false))
        );
        let warning = upload["warnings"][0].as_str().unwrap();
        assert!(warning.contains(input), "{warning}");
        let mut body = json!({"document_id": upload["document_id"], "schema": schema()});
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(refused.refusal(), (422, "document_without_text"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(input) && detail.contains("OCR"), "{detail}");

        // One that came with the request is not kept.
        let before = app.get("/v1/extract/documents", "document_list").await.body;
        let data = STANDARD.encode(&bytes);
        body.as_object_mut().unwrap().remove("document_id");
        body["document"] = json!(format!("data:{kind};base64,{data}"));
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(
            refused.refusal(),
            (422, "document_without_text"),
            "{}",
            refused.body
        );
        let after = app.get("/v1/extract/documents", "document_list").await.body;
        assert_eq!(before["total_count"], after["total_count"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_only_has_a_picture_is_named_and_seen_by_models_that_see() {
    for wire in WIRES {
        let server = Server::start();
        let app = app(&server, wire, model_of(wire)).await;
        let bytes = pdf::with_text_and_pictures("Number: R-1017");
        let upload = app.upload("mixed.pdf", bytes.clone()).await.body;
        assert_eq!(upload["has_text"], true, "{upload}");
        let warnings = upload["warnings"].to_string();
        assert!(warnings.contains("`native` or `pages`"), "{warnings}");
        assert_eq!(
            upload["warnings"][1], "Pages without text: 2.",
            "neither a blank page nor one with a logo"
        );
        let path = format!(
            "/v1/extract/documents/{}",
            upload["document_id"].as_str().unwrap()
        );
        let shown = app.get(&path, "document").await.body;
        assert_eq!(shown["warnings"][0], upload["warnings"][0]);
        for (config, form) in [
            (json!({}), "native"),
            (json!({"document_input": "text"}), "text"),
        ] {
            let body = json!({
                "document_id": upload["document_id"], "schema": schema(), "config": config});
            let job = app.submit(&body).await;
            app.end_of(&job).await;
            let results = app.results(&job).await.body;
            assert_eq!(results["config"]["document_input"], form, "{wire:?}");
            let asked = server.asked();
            let is_text = form == "text";
            assert_eq!(
                asked.last().unwrap().prompt().contains("R-1017"),
                is_text,
                "{wire:?}"
            );
            if !is_text {
                let sent = file(wire, &parts(asked.last().unwrap())[0]);
                assert_eq!(
                    sent,
                    ("application/pdf".to_owned(), bytes.clone()),
                    "{wire:?}"
                );
            }
        }
    }
    // What reads words alone goes on to read those that are there.
    let app = TestApp::start().set("default_model", "layout").run().await;
    let body = body(
        &app,
        pdf::with_text_and_pictures("Number: R-1017"),
        json!({}),
    )
    .await;
    let job = app.submit(&body).await;
    assert_eq!(app.end_of(&job).await["status"], "completed");
    let results = app.results(&job).await.body;
    assert_eq!(results["config"]["document_input"], "text");
}
