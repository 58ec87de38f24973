//! Pages of strangers and other names of the server, where no key keeps them out.

use reqwest::Method;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::raw::{Raw, ask, exchange, parse};

const MODELS: &str = "/v1/extract/models";

/// The answer to a GET with exactly these headers.
async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Raw {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    ask(app.app.address, request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_keys_answers_under_its_own_names_only() {
    let app = TestApp::start()
        .set("public_hosts", "extract.example")
        .run()
        .await;
    let address = app.app.address;
    let port = address.port();
    for host in [
        "localhost",
        &format!("127.0.0.1:{port}"),
        "[::1]:9",
        "extract.example:443",
    ] {
        let answer = get(&app, MODELS, &[("Host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    for path in [MODELS, "/metrics", "/console/", "/openapi.json", "/nothing"] {
        for host in ["evil.example", "10.1.2.3:80", "127.0.0.1.evil.example"] {
            let answer = get(&app, path, &[("Host", host)]).await;
            assert_eq!((answer.status, &*answer.code()), (403, "forbidden_origin"));
            let detail = answer.detail();
            let named = detail.contains(host) && detail.contains("public_hosts");
            assert!(named, "{detail}");
        }
    }
    // Refused with the head in HTTP/1.1, where the name must be there; in 1.0 by us.
    let none = exchange(address, format!("GET {MODELS} HTTP/1.0\r\n\r\n").as_bytes()).await;
    let none = &parse(&none)[0];
    assert_eq!((none.status, &*none.code()), (403, "forbidden_origin"));
    assert!(
        none.detail().contains("no header `Host`"),
        "{}",
        none.detail()
    );
    let named = format!("GET {MODELS} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        parse(&exchange(address, named.as_bytes()).await)[0].status,
        200
    );
    for hosts in ["", "Host: localhost\r\nHost: evil.example\r\n"] {
        let request = format!("GET {MODELS} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange(address, request.as_bytes()).await;
        assert!((400..=403).contains(&parse(&answer)[0].status), "{hosts}");
    }
    let absolute = get(
        &app,
        &format!("http://evil.example{MODELS}"),
        &[("Host", "localhost")],
    )
    .await;
    assert_eq!(absolute.status, 403);
    // Probes know the server by whatever name.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&app, path, &[("Host", "10.1.2.3")]).await.status, 200);
    }
    app.key("ada").await;
    let answer = get(&app, MODELS, &[("Host", "evil.example")]).await;
    assert_eq!(answer.status, 401, "with keys, the key decides");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_keys_answers_pages_of_its_own_origin_only() {
    let app = TestApp::start()
        .set("cors_origins", "https://app.example")
        .run()
        .await;
    let host = app.app.address.to_string();
    let ask = |origin: &str| {
        let headers = [("Host", host.clone()), ("Origin", origin.to_owned())];
        let app = &app;
        async move {
            let headers = headers
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            get(app, MODELS, &headers).await
        }
    };
    for origin in [
        &*format!("http://{host}"),
        "https://app.example",
        "HTTPS://APP.example",
    ] {
        assert_eq!(ask(origin).await.status, 200, "{origin}");
    }
    let port = app.app.address.port();
    for origin in [
        "null",
        "",
        "https://evil.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "http://127.0.0.1:1",
        &format!("http://localhost:{port}"),
        &format!("http://evil.example:{port}"),
        &host,
    ] {
        let answer = ask(origin).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (403, "forbidden_origin"),
            "{origin}"
        );
        let detail = answer.detail();
        let named = detail.contains(origin) && detail.contains("cors_origins");
        assert!(named, "{detail}");
    }
    app.key("ada").await;
    assert_eq!(
        ask("https://evil.example").await.status,
        401,
        "with keys, the key decides"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_a_stranger_starts_anything() {
    let app = TestApp::start().run().await;
    let body = json!({"name": "x", "schema_definition": {}}).to_string();
    // What a page may send without asking first; a form of the same name as well.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let request = |origin: &'static str| {
            let request = app.request(Method::POST, "/v1/extract/schemas");
            let request = request.header("Content-Type", kind).body(body.clone());
            if origin.is_empty() {
                request
            } else {
                request.header("Origin", origin)
            }
        };
        let refused = app.call(request("https://evil.example"), "schema").await;
        assert_eq!(refused.refusal(), (403, "forbidden_origin"), "{kind}");
        let refused = app.call(request(""), "schema").await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{kind}");
    }
    let upload = app
        .request(Method::POST, "/v1/extract/documents/upload")
        .header("Content-Type", "application/json")
        .body(body.clone());
    let refused = app.call(upload, "document").await;
    assert_eq!(refused.refusal(), (415, "unsupported_media_type"));
    let none = app.get("/v1/extract/schemas", "schema_list").await;
    assert_eq!(none.body["total_count"], 0);
}
