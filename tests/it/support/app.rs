//! The real server on a free port, and a client of its API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, Response, StatusCode};
use rivulet::app::{App, Builder};
use rivulet::engine::ports::Provider;
use rivulet::settings::{Settings, Sources};
use serde_json::{Value, json};

use super::openapi;
use super::schemas;
use super::sse::Stream;

/// A server and its data folder. The folder goes with it; [`TestApp::reopen`] keeps it.
pub struct TestApp {
    pub app: App,
    pub base: String,
    pub client: Client,
    folder: Arc<tempfile::TempDir>,
}

/// A server about to start.
pub struct Start {
    folder: Arc<tempfile::TempDir>,
    flags: Vec<(&'static str, String)>,
    build: Box<dyn FnOnce(Builder) -> Builder>,
}

impl Start {
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.flags.push((name, value.to_string()));
        self
    }

    /// With the settings of another.
    pub fn like(mut self, other: Self) -> Self {
        self.flags = other.flags;
        self
    }

    pub fn build(mut self, change: impl FnOnce(Builder) -> Builder + 'static) -> Self {
        let before = self.build;
        self.build = Box::new(|builder| change(before(builder)));
        self
    }

    /// The model `scripted`, and no other, is the default.
    pub fn provider(self, provider: Arc<dyn Provider>) -> Self {
        let model = provider.models()[0].id.clone();
        self.set("default_model", model)
            .build(|builder| builder.providers(vec![provider]))
    }

    #[allow(clippy::unused_async)] // Starting needs a runtime around it.
    pub async fn run(self) -> TestApp {
        let mut flags = vec![
            ("bind", "127.0.0.1:0".to_owned()),
            // Models of tests may be held for ever.
            ("drain", "0".to_owned()),
            (
                "data",
                self.folder.path().join("data").display().to_string(),
            ),
        ];
        flags.extend(self.flags);
        // The last one wins.
        let flags = flags.into_iter().collect();
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        let settings = Settings::load(sources).unwrap();
        let app = (self.build)(App::builder(settings)).start().unwrap();
        let base = format!("http://{}", app.address);
        let client = Client::builder().no_proxy().build().unwrap();
        TestApp {
            app,
            base,
            client,
            folder: self.folder,
        }
    }
}

/// An answer that was held against its schema.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Status and `code` of a refusal.
    pub fn refusal(&self) -> (u16, &str) {
        let code = self.body["code"].as_str();
        (self.status.as_u16(), code.unwrap_or("none"))
    }

    /// The places that are at fault.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        let pointers = errors.map(|error| error["pointer"].as_str());
        pointers.map(Option::unwrap).collect()
    }
}

impl TestApp {
    pub fn start() -> Start {
        Start {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            flags: Vec::new(),
            build: Box::new(|builder| builder),
        }
    }

    /// A server on the data in the folder `data` of this one.
    pub fn on(folder: tempfile::TempDir) -> Start {
        Start {
            folder: Arc::new(folder),
            ..Self::start()
        }
    }

    /// Stops this server and prepares another one on the same data.
    pub async fn reopen(self) -> Start {
        let folder = Arc::clone(&self.folder);
        self.app.stop().await;
        Start {
            folder,
            flags: Vec::new(),
            build: Box::new(|builder| builder),
        }
    }

    /// A new key of a user. From now on the server asks for one.
    pub async fn key(&self, user: &str) -> String {
        let created = self
            .app
            .engine
            .keyring()
            .create(user, "of a test", None)
            .await;
        created.unwrap().1
    }

    /// Sends a key with every request from now on.
    pub fn with_key(mut self, key: &str) -> Self {
        let value = format!("Bearer {key}").parse().unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let builder = Client::builder().no_proxy().default_headers(headers);
        self.client = builder.build().unwrap();
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request and holds the answer's body against the schema of that name, errors
    /// against the schema of problems, and both against the OpenAPI document.
    pub async fn call(&self, request: reqwest::RequestBuilder, schema: &str) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.client.execute(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body: Value = response.json().await.unwrap();
        openapi::check(method.as_str(), &path, status.as_u16(), &headers, &body);
        if status.is_success() {
            schemas::check(schema, &body);
        } else {
            schemas::check("problem", &body);
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(
                headers["x-request-id"],
                body["request_id"].as_str().unwrap()
            );
        }
        Answer {
            status,
            headers,
            body,
        }
    }

    pub async fn get(&self, path: &str, schema: &str) -> Answer {
        self.call(self.request(Method::GET, path), schema).await
    }

    pub async fn post(&self, path: &str, body: &Value, schema: &str) -> Answer {
        self.call(self.request(Method::POST, path).json(body), schema)
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(self.request(Method::DELETE, path), "deleted")
            .await
    }

    pub async fn upload(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        let part = reqwest::multipart::Part::bytes(bytes.into()).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self
            .request(Method::POST, "/v1/extract/documents/upload")
            .multipart(form);
        self.call(request, "document").await
    }

    /// Uploads a short text and gives its document id.
    pub async fn document(&self) -> String {
        let answer = self
            .upload("note.txt", "Invoice number: 7\nTotal: 12.50 EUR\n")
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["document_id"].as_str().unwrap().to_owned()
    }

    /// A job's body over a short text.
    pub async fn job_body(&self, schema: Value, config: Value) -> Value {
        json!({ "document_id": self.document().await, "schema": schema, "config": config })
    }

    /// Starts a job and gives its id.
    pub async fn submit(&self, body: &Value) -> String {
        let answer = self.post("/v1/extract/jobs", body, "job_created").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        answer.body["job_id"].as_str().unwrap().to_owned()
    }

    /// Starts a job with `stream=true`.
    pub async fn stream(&self, body: &Value) -> Stream {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let request = self.request(Method::POST, "/v1/extract/jobs").json(&body);
        Stream::of(request.send().await.unwrap())
    }

    /// The raw answer of a job's event stream.
    pub async fn open_events(&self, job: &str, cursor: Option<&str>) -> Response {
        let mut request = self.request(Method::GET, &format!("/v1/extract/jobs/{job}/events"));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        request.send().await.unwrap()
    }

    /// Follows a job's log after a cursor.
    pub async fn follow(&self, job: &str, cursor: Option<&str>) -> Stream {
        Stream::of(self.open_events(job, cursor).await)
    }

    /// Waits for the end of a job and gives it.
    pub async fn end_of(&self, job: &str) -> Value {
        let frames = self.follow(job, None).await.rest().await;
        let end = frames.last().unwrap();
        assert_eq!(end.event, "end");
        end.payload()
    }

    pub async fn results(&self, job: &str) -> Answer {
        self.get(&format!("/v1/extract/jobs/{job}/results"), "results")
            .await
    }
}

/// An object schema of `subtrees` objects with four fields each, so that each is its own subtree.
pub fn wide_schema(subtrees: usize) -> Value {
    let fields = json!({
        "a": {"type": ["string", "null"]}, "b": {"type": ["string", "null"]},
        "c": {"type": ["string", "null"]}, "d": {"type": ["string", "null"]},
    });
    let part = json!({"type": "object", "properties": fields});
    let parts: serde_json::Map<_, _> = (0..subtrees)
        .map(|index| (format!("part_{index:03}"), part.clone()))
        .collect();
    json!({"type": "object", "properties": parts})
}

/// A file of the repository.
pub fn file(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
