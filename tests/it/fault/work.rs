//! Everything a client and an operator do with a server, one after the other, and what they may
//! count on afterwards.

use std::collections::BTreeMap;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

use crate::support::child::Child;
use crate::support::sse::{Frame, Stream};

/// The server is gone.
#[derive(Debug)]
pub struct Died;

/// How far something has come, as the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Not,
    /// Asked for, and nobody knows whether it was done.
    Asked,
    Acknowledged,
}

/// What is known of a job.
#[derive(Debug, Clone)]
pub struct Job {
    pub body: Value,
    /// None until its creation was acknowledged.
    pub id: Option<String>,
    /// What was seen of its log.
    pub seen: Vec<Frame>,
    pub cancel: Step,
    pub delete: Step,
}

/// What is known of anything else that can be made and deleted.
#[derive(Debug, Clone)]
pub struct Thing {
    /// The text of a document, the name of a schema, the secret of a key.
    pub text: String,
    /// The name that a schema is being given.
    pub next: Option<String>,
    pub delete: Step,
}

/// What the client was told.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// By idempotency key.
    pub jobs: BTreeMap<String, Job>,
    /// By id.
    pub documents: BTreeMap<String, Thing>,
    pub schemas: BTreeMap<String, Thing>,
    pub keys: BTreeMap<String, Thing>,
    /// Whether what is old may be gone.
    pub swept: bool,
}

pub struct Work {
    pub child: Child,
    pub client: Client,
    /// Once there are keys, requests need one.
    pub key: Option<String>,
    pub known: Known,
}

/// A schema whose subtrees are named after a job.
pub fn schema(name: &str, subtrees: usize) -> Value {
    let field = json!({"type": ["string", "null"]});
    let part = json!({"type": "object", "properties":
        {"a": field, "b": field, "c": field, "d": field}});
    let parts: Map<_, _> = (0..subtrees)
        .map(|index| (format!("{name}_{index}"), part.clone()))
        .collect();
    json!({"type": "object", "properties": parts})
}

/// Rows that the model `rows` reads in several windows.
const ROWS: usize = 60;

fn rows_schema() -> Value {
    json!({"type": "object", "properties": {"rows": {"type": "array", "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "amount": {"type": "integer"}},
        "required": ["name", "amount"],
    }}}})
}

fn row(number: usize) -> (String, usize) {
    (format!("Item-{number:03}"), 100 + number * 7)
}

/// What [`schema`], or that of rows, is filled with.
pub fn values(schema: &Value) -> Value {
    if schema["properties"]["rows"].is_object() {
        let rows = (0..ROWS).map(row);
        let rows = rows.map(|(name, amount)| json!({"name": name, "amount": amount}));
        return json!({"rows": rows.collect::<Vec<_>>()});
    }
    let parts = schema["properties"].as_object().unwrap().keys();
    let value = |name: &str| {
        let say = |field: &str| json!(format!("/{name}/{field}"));
        json!({"a": say("a"), "b": say("b"), "c": null, "d": say("d")})
    };
    parts.map(|name| (name.clone(), value(name))).collect()
}

/// The job that an answer is about: a stream names it, and else there is where it is.
pub fn id_of(created: &Response) -> String {
    let headers = created.headers();
    let place = headers.get("x-job-id").or_else(|| headers.get("location"));
    let place = place.unwrap_or_else(|| panic!("{created:?}"));
    place
        .to_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

impl Work {
    pub fn on(child: Child) -> Self {
        Self {
            child,
            client: Client::builder().no_proxy().build().unwrap(),
            key: None,
            known: Known::default(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v1/extract{path}", self.child.base);
        let request = self.client.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// The answer with its body, which is of the status that is meant.
    async fn ask(&self, request: RequestBuilder, status: u16) -> Result<Value, Died> {
        let answer = request.send().await.map_err(|_| Died)?;
        let said = answer.status().as_u16();
        let body: Value = answer.json().await.map_err(|_| Died)?;
        assert_eq!(said, status, "{body}");
        Ok(body)
    }

    async fn say(&mut self, line: &str) -> Result<String, Died> {
        self.child.say(line).await.ok_or(Died)
    }

    /// Everything but the stop. With `fatal` a heartbeat, it is waited for.
    pub async fn all(&mut self, fatal: &str) -> Result<(), Died> {
        self.say("begin").await?;
        self.saves_schemas().await?;
        self.streams().await?;
        self.reads_rows().await?;
        self.retries().await?;
        self.cancels_and_deletes().await?;
        self.deletes_documents().await?;
        self.makes_keys().await?;
        self.known.swept = true;
        for _ in 0..3 {
            self.say("sweep").await?;
        }
        self.holds(fatal).await
    }

    /// While three jobs run.
    pub async fn stop(&mut self) -> Result<String, Died> {
        self.say("stop").await
    }

    async fn upload(&mut self, text: &str) -> Result<String, Died> {
        let part = reqwest::multipart::Part::text(text.to_owned()).file_name("note.txt");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self.request(Method::POST, "/documents/upload");
        let document = self.ask(request.multipart(form), 201).await?;
        let id = document["document_id"].as_str().unwrap().to_owned();
        let thing = Thing {
            text: text.to_owned(),
            next: None,
            delete: Step::Not,
        };
        self.known.documents.insert(id.clone(), thing);
        Ok(id)
    }

    async fn saves_schemas(&mut self) -> Result<(), Died> {
        for number in 0..4 {
            let name = format!("Schema {number}");
            let body = json!({"name": name, "schema_definition": schema("saved", 1)});
            let request = self.request(Method::POST, "/schemas").json(&body);
            let saved = self.ask(request, 201).await?;
            let id = saved["schema_id"].as_str().unwrap().to_owned();
            let thing = Thing {
                text: name,
                next: None,
                delete: Step::Not,
            };
            self.known.schemas.insert(id, thing);
        }
        let ids: Vec<_> = self.known.schemas.keys().cloned().collect();
        for id in &ids[..3] {
            let name = "Renamed".to_owned();
            self.known.schemas.get_mut(id).unwrap().next = Some(name.clone());
            let body = json!({"name": name, "schema_definition": schema("saved", 2)});
            let request = self.request(Method::PUT, &format!("/schemas/{id}"));
            self.ask(request.json(&body), 200).await?;
            let known = self.known.schemas.get_mut(id).unwrap();
            (known.text, known.next) = (name, None);
        }
        for id in &ids[1..] {
            self.known.schemas.get_mut(id).unwrap().delete = Step::Asked;
            let request = self.request(Method::DELETE, &format!("/schemas/{id}"));
            self.ask(request, 200).await?;
            self.known.schemas.get_mut(id).unwrap().delete = Step::Acknowledged;
        }
        Ok(())
    }

    /// Asks for a job under a key, which also names its subtrees.
    async fn create(&mut self, key: &str, subtrees: usize, more: Value) -> Result<Response, Died> {
        let mut body = json!({
            "schema": schema(key, subtrees),
            "config": {"max_num_concurrent_requests": 1, "n_max_retries": 0},
            // Nobody listens there.
            "callback_url": "http://127.0.0.1:9/",
        });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let job = Job {
            body,
            id: None,
            seen: Vec::new(),
            cancel: Step::Not,
            delete: Step::Not,
        };
        self.known.jobs.insert(key.to_owned(), job);
        let answer = self.send(key).await?;
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 202), "{status}: {key}");
        self.job(key).id = Some(id_of(&answer));
        Ok(answer)
    }

    /// The request of a job, made once more.
    pub async fn send(&self, key: &str) -> Result<Response, Died> {
        let request = self.request(Method::POST, "/jobs");
        let request = request.header("Idempotency-Key", key);
        let body = &self.known.jobs[key].body;
        request.json(body).send().await.map_err(|_| Died)
    }

    fn job(&mut self, key: &str) -> &mut Job {
        self.known.jobs.get_mut(key).unwrap()
    }

    fn path(&self, key: &str) -> String {
        format!("/jobs/{}", self.known.jobs[key].id.as_ref().unwrap())
    }

    /// Reads a stream until `is_enough`, or its end.
    async fn read(
        &mut self,
        key: &str,
        answer: Response,
        is_enough: impl Fn(&Frame) -> bool,
    ) -> Result<(), Died> {
        let job = self.job(key);
        let (mut stream, mut last) = (Stream::of(answer), None);
        while !last.as_ref().is_some_and(&is_enough) {
            match stream.next_or_cut().await {
                Some(frame) => {
                    job.seen.push(frame.clone());
                    last = Some(frame);
                }
                None if last.as_ref().is_some_and(|frame| frame.event == "end") => break,
                None => return Err(Died),
            }
        }
        Ok(())
    }

    async fn follow(&mut self, key: &str, is_enough: fn(&Frame) -> bool) -> Result<(), Died> {
        let mut request = self.request(Method::GET, &format!("{}/events", self.path(key)));
        if let Some(last) = self.known.jobs[key].seen.last() {
            request = request.header("Last-Event-ID", &last.id);
        }
        let answer = request.send().await.map_err(|_| Died)?;
        assert_eq!(answer.status(), 200);
        self.read(key, answer, is_enough).await
    }

    /// A job whose document comes with it, followed from its first moment.
    async fn streams(&mut self) -> Result<(), Died> {
        let more = json!({"document": "Total: 12.50 EUR\n", "stream": true});
        let answer = self.create("stream", 6, more).await?;
        self.read("stream", answer, |_| false).await?;
        let path = format!("{}/stream-ticket", self.path("stream"));
        let request = self.request(Method::POST, &path).json(&json!({}));
        self.ask(request, 200).await.map(drop)
    }

    /// A job with an array that is read in windows.
    async fn reads_rows(&mut self) -> Result<(), Died> {
        let lines = (0..ROWS).map(row);
        let lines = lines.map(|(name, amount)| format!("{name}          {amount:>8}\n"));
        let text = format!("Name              Amount\n{}", lines.collect::<String>());
        let more = json!({"document": text, "schema": rows_schema(), "stream": true,
            "config": {"model": "rows", "max_num_concurrent_requests": 1}});
        let answer = self.create("rows", 1, more).await?;
        self.read("rows", answer, |_| false).await
    }

    /// A job of which a part fails three times.
    async fn retries(&mut self) -> Result<(), Died> {
        self.say("fail").await?;
        let document = self.upload("Total: 13.50 EUR\n").await?;
        self.create("retry", 4, json!({"document_id": document}))
            .await?;
        for attempt in 1..=3 {
            self.follow("retry", |_| false).await?;
            if attempt == 3 {
                self.say("mend").await?;
            }
            let request = self.request(Method::POST, &format!("{}/retry", self.path("retry")));
            self.ask(request, 202).await?;
        }
        self.follow("retry", |_| false).await
    }

    async fn cancels_and_deletes(&mut self) -> Result<(), Died> {
        let document = self.upload("Total: 14.50 EUR\n").await?;
        self.say("close").await?;
        for number in 0..3 {
            let key = format!("cancel{number}");
            self.create(&key, 2, json!({"document_id": document}))
                .await?;
            self.follow(&key, |frame| frame.data.contains("\"scheduled\""))
                .await?;
            self.job(&key).cancel = Step::Asked;
            let request = self.request(Method::POST, &format!("{}/cancel", self.path(&key)));
            self.ask(request, 202).await?;
            self.job(&key).cancel = Step::Acknowledged;
        }
        self.say("open").await?;
        for number in 0..3 {
            let key = format!("cancel{number}");
            self.job(&key).delete = Step::Asked;
            let request = self.request(Method::DELETE, &self.path(&key));
            self.ask(request, 200).await?;
            self.job(&key).delete = Step::Acknowledged;
        }
        Ok(())
    }

    async fn deletes_documents(&mut self) -> Result<(), Died> {
        for number in 0..3 {
            self.upload(&format!("Total: {number}.75 EUR\n")).await?;
        }
        let documents = self.known.documents.clone();
        let spare = documents
            .iter()
            .filter(|(_, thing)| thing.text.contains(".75"));
        for (id, _) in spare {
            let known = |work: &mut Self, step| {
                work.known.documents.get_mut(id).unwrap().delete = step;
            };
            known(self, Step::Asked);
            let request = self.request(Method::DELETE, &format!("/documents/{id}"));
            self.ask(request, 200).await?;
            known(self, Step::Acknowledged);
        }
        Ok(())
    }

    async fn makes_keys(&mut self) -> Result<(), Died> {
        for number in 0..4 {
            // The first one opens what was made without a key.
            let user = if number == 0 { "local" } else { "ada" };
            let made = self.say(&format!("key {user}")).await?;
            let (id, text) = made.split_once(' ').unwrap();
            if number == 0 {
                self.key = Some(text.to_owned());
            }
            let thing = Thing {
                text: text.to_owned(),
                next: None,
                delete: Step::Not,
            };
            self.known.keys.insert(id.to_owned(), thing);
        }
        let own = self.key.clone();
        let ids = self.known.keys.clone().into_iter();
        for (id, _) in ids.filter(|(_, key)| Some(&key.text) != own.as_ref()) {
            self.known.keys.get_mut(&id).unwrap().delete = Step::Asked;
            self.say(&format!("revoke {id}")).await?;
            self.known.keys.get_mut(&id).unwrap().delete = Step::Acknowledged;
        }
        Ok(())
    }

    /// Three jobs that are held in the middle.
    async fn holds(&mut self, fatal: &str) -> Result<(), Died> {
        let document = self.upload("Total: 15.50 EUR\n").await?;
        self.say("close").await?;
        for number in 0..3 {
            let key = format!("hold{number}");
            self.create(&key, 3, json!({"document_id": document}))
                .await?;
            self.follow(&key, |frame| frame.data.contains("\"scheduled\""))
                .await?;
        }
        // What is asked for first is given first.
        self.say("pass 1").await?;
        self.follow("hold0", |frame| frame.event == "subtree_result")
            .await?;
        if fatal.contains("renew") {
            self.child.died().await;
            return Err(Died);
        }
        // Heartbeats are part of a whole life; others need not wait for them.
        while fatal.is_empty() && !self.say("hits").await?.contains("renew.after") {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
