//! A model that does as it is told: waits at a gate, fails by plan, remembers what it was asked.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use rivulet::domain::document::DocumentInput;
use rivulet::domain::error::Fault;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::plan::Subtree;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Manner, Model, Provider};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

/// What becomes of one asking of a subtree.
pub enum Reply {
    Value(Value),
    Fail(CallError),
    /// The answer ends without the subtree.
    Nothing,
    Panic,
}

type Script = Box<dyn Fn(&Subtree, u32) -> Reply + Send + Sync>;

pub struct Scripted {
    script: Script,
    gate: Semaphore,
    /// Subtree ids in the order they were asked.
    asked: Mutex<Vec<String>>,
    more_asked: Notify,
    manner: Mutex<Manner>,
    calls: Mutex<Vec<Call>>,
    counts: Mutex<HashMap<String, u32>>,
}

impl Scripted {
    /// Answers by `script`, which is given the subtree and how often it was asked, from 1. Every
    /// answer takes one pass of the gate.
    pub fn new(script: impl Fn(&Subtree, u32) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            asked: Mutex::default(),
            more_asked: Notify::new(),
            manner: Mutex::default(),
            calls: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Answers every subtree with a value made from its path.
    pub fn plain() -> Arc<Self> {
        Self::new(|subtree, _| Reply::Value(plain_value(subtree)))
    }

    /// The same, behind a closed gate.
    pub fn gated() -> Arc<Self> {
        let scripted = Self::plain();
        scripted.close();
        scripted
    }

    /// To be asked in this manner.
    pub fn in_manner(self: Arc<Self>, manner: Manner) -> Arc<Self> {
        *self.manner.lock() = manner;
        self
    }

    /// As a model whose answers cost money: they are kept, share calls and are corrected.
    pub fn paid(self: Arc<Self>) -> Arc<Self> {
        self.in_manner(Manner {
            output_tokens: Some(10_000),
            version: Some("1".into()),
            takes_corrections: true,
            ..Manner::default()
        })
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    pub fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets `count` answers through.
    pub fn pass(&self, count: usize) {
        self.gate.add_permits(count);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// Waits until `count` subtrees were asked for.
    pub async fn until_asked(&self, count: usize) {
        loop {
            let more = self.more_asked.notified();
            if self.asked.lock().len() >= count {
                return;
            }
            more.await;
        }
    }
}

/// The value that [`Scripted::plain`] gives.
pub fn plain_value(subtree: &Subtree) -> Value {
    let say = |name: &str| json!(format!("{}{}", subtree.path, name));
    json!({"a": say("/a"), "b": say("/b"), "c": null, "d": say("/d")})
}

pub fn fault(fault: Fault, retry_after_ms: Option<u64>) -> Reply {
    Reply::Fail(CallError {
        fault,
        message: format!("planned: {}", fault.name()),
        retry_after_ms,
    })
}

/// What [`Provider::ask`] needs to outlive its borrow.
pub struct Server(pub Arc<Scripted>);

impl Provider for Server {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: "scripted".into(),
            display_name: "Scripted".into(),
            description: "Answers by a script.".into(),
            provider: "tests".into(),
            ignores: vec!["seed".into(), "enable_thinking".into()],
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn manner(&self, _model: &str) -> Manner {
        self.0.manner.lock().clone()
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let scripted = Arc::clone(&self.0);
        scripted.calls.lock().push(call.clone());
        async_stream::stream! {
            for index in call.subtrees.clone() {
                let subtree = Arc::clone(&call.plan.subtrees[index]);
                scripted.asked.lock().push(subtree.id.clone());
                scripted.more_asked.notify_waiters();
                let count = {
                    let mut counts = scripted.counts.lock();
                    let count = counts.entry(subtree.id.clone()).or_insert(0);
                    *count += 1;
                    *count
                };
                scripted.gate.acquire().await.unwrap().forget();
                match (scripted.script)(&subtree, count) {
                    Reply::Value(value) => {
                        yield Ok(Answer::Subtree { index, value, attributions: Attributions::new(), logprobs: Logprobs::new() });
                    }
                    Reply::Fail(error) => {
                        yield Err(error);
                        return;
                    }
                    Reply::Nothing => {}
                    Reply::Panic => panic!("planned"),
                }
            }
            yield Ok(Answer::Usage(Usage {
                provider: "tests".into(),
                model: "scripted".into(),
                prompt_token_count: 10,
                candidates_token_count: 2,
                total_token_count: 12,
                request_count: 1,
                cost_usd: Some(0.25),
                ..Usage::default()
            }));
        }
        .boxed()
    }
}

/// A model of short answers, that reads the rows of what it is shown: a name and a figure a line.
pub struct Rows;

impl Rows {
    fn read(call: &Call) -> Value {
        let lines = call
            .document
            .pages
            .iter()
            .flat_map(|page| page.text.lines());
        let rows = lines.filter_map(|line| {
            let (name, amount) = line.split_once(' ')?;
            let amount: u64 = amount.trim().parse().ok()?;
            Some(json!({"name": name, "amount": amount}))
        });
        rows.collect()
    }
}

impl Provider for Rows {
    fn models(&self) -> Vec<Model> {
        let mut models = Server(Scripted::plain()).models();
        for model in &mut models {
            "rows".clone_into(&mut model.id);
        }
        models
    }

    fn manner(&self, _model: &str) -> Manner {
        Manner {
            output_tokens: Some(400),
            version: Some("1".into()),
            ..Manner::default()
        }
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        async_stream::stream! {
            for index in call.subtrees.clone() {
                let value = Self::read(&call);
                yield Ok(Answer::Subtree { index, value, attributions: Attributions::new(), logprobs: Logprobs::new() });
            }
            yield Ok(Answer::Usage(Usage {
                provider: "tests".into(),
                model: "rows".into(),
                request_count: 1,
                ..Usage::default()
            }));
        }
        .boxed()
    }
}
