//! The native dialect from the side of a client, as far as the demo needs it.

use std::net::SocketAddr;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, future};
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, Response};
use russe::reqwest_0_13::ReqwestExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use crate::domain::event::{BASE, Envelope};

pub struct Client {
    base: String,
    http: reqwest::Client,
}

#[derive(Deserialize)]
pub struct Uploaded {
    pub document_id: String,
    pub page_count: u64,
}

#[derive(Deserialize)]
pub struct Saved {
    pub schema_id: String,
}

impl Client {
    /// A client of the server at `address`. Proxies of the environment are not asked: they could
    /// not reach it.
    pub fn new(address: SocketAddr) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            // Plain HTTP to ourselves: a machine without certificates can do that, too.
            .tls_certs_only([])
            .build()
            .map_err(lost)?;
        Ok(Self {
            base: format!("http://{address}{BASE}"),
            http,
        })
    }

    pub async fn upload(
        &self,
        name: &'static str,
        bytes: &'static [u8],
    ) -> Result<Uploaded, Failure> {
        let form = Form::new().part("file", Part::bytes(bytes).file_name(name));
        read(self.post("/documents/upload").multipart(form)).await
    }

    pub async fn save_schema(&self, name: &str, definition: &Value) -> Result<Saved, Failure> {
        let body = json!({"name": name, "schema_definition": definition});
        read(self.post("/schemas").json(&body)).await
    }

    /// Starts a job and follows it from its first event.
    pub async fn stream_job(
        &self,
        document_id: &str,
        schema_id: &str,
    ) -> Result<BoxStream<'static, Result<Envelope, Failure>>, Failure> {
        let body = json!({
            "document_id": document_id,
            "schema_id": schema_id,
            "config": {"per_key_attribution": true},
            "stream": true,
        });
        let response = accepted(self.post("/jobs").json(&body)).await?;
        let events = response.sse_stream().filter_map(|event| {
            future::ready(match event {
                Ok(russe::Event::Message(message)) => {
                    Some(Envelope::decode(&message.data).map_err(lost))
                }
                Ok(_) => None,
                Err(cause) => Some(Err(lost(cause))),
            })
        });
        Ok(events.boxed())
    }

    /// The combined result.
    pub async fn results(&self, job: &str) -> Result<Value, Failure> {
        let mut body: Value =
            read(self.http.get(format!("{}/jobs/{job}/results", self.base))).await?;
        Ok(body["results"].take())
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failure> {
    accepted(request).await?.json().await.map_err(lost)
}

/// The answer, unless it is a refusal.
async fn accepted(request: RequestBuilder) -> Result<Response, Failure> {
    let response = request.send().await.map_err(lost)?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    let detail = body["detail"].as_str().unwrap_or("no reason was given");
    Err(Failure::of(
        Exit::Failed,
        format!("The server answered {status}: {detail}"),
    ))
}

fn lost(cause: impl std::error::Error) -> Failure {
    Failure::of(
        Exit::Failed,
        format!("The server's answer cannot be read: {cause}"),
    )
}
