//! The vendor's own clients, unmodified, of two ages.

use std::sync::Arc;

use rivulet::provider::layout::Layout;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::browser::skip;
use crate::support::clients;
use crate::support::provider::{Scripted, Server};

/// Lets a client do all that it can; gives what it says it did.
async fn asked(test: &str, version: &str) -> Option<Value> {
    let name = format!("retab-{version}");
    let installed = clients::modern_venv(&name, &format!("{name}.txt"));
    let (python, folder) = installed.inspect_err(|reason| skip(test, reason)).ok()?;
    let held = Arc::new(Server(Scripted::gated()));
    let app = TestApp::start()
        .set("default_model", "layout")
        .build(|builder| builder.providers(vec![Arc::new(Layout::default()), held]))
        .run()
        .await;
    let key = app.key("alice").await;
    let program = clients::program("retab_client.py", &folder);
    let arguments = [program, (&app.base).into(), key.into()];
    let ran = clients::run(&python, &arguments, &folder, None).await;
    let said: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!(said["version"], version);
    Some(said["did"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypi_retab_0_0_90_does_all_that_it_can() {
    let test = "http::retab::clients::pypi_retab_0_0_90_does_all_that_it_can";
    let Some(did) = asked(test, "0.0.90").await else {
        return;
    };
    let expected = json!([
        "create", "poll", "cancel", "list", "extract", "stream", "parse", "classify", "split",
        "generate", "errors"
    ]);
    assert_eq!(did, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypi_retab_0_0_120_does_all_that_it_can() {
    let test = "http::retab::clients::pypi_retab_0_0_120_does_all_that_it_can";
    let Some(did) = asked(test, "0.0.120").await else {
        return;
    };
    let expected = json!([
        "create",
        "wait_for_completion",
        "cancel",
        "retry",
        "list",
        "extract",
        "stream",
        "parse",
        "classify",
        "split",
        "generate",
        "extractions",
        "parses",
        "classifications",
        "splits",
        "errors"
    ]);
    assert_eq!(did, expected);
}
