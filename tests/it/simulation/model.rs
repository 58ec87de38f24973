//! A model whose answers are late, cut, wrong, or do not come.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rivulet::domain::document::{Document, DocumentInput};
use rivulet::domain::error::Fault;
use rivulet::domain::evidence::{Attributions, Logprobs};
use rivulet::domain::plan::Subtree;
use rivulet::domain::pointer::Pointer;
use rivulet::domain::usage::Usage;
use rivulet::engine::ports::{Answer, Call, CallError, Manner, Model, Provider};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::weather::Weather;
use super::world::{Life, World};

pub const NAME: &str = "simulated";
/// Leaf fields of every subtree.
pub const FIELDS: u64 = 4;

/// What the model says of a part of a client's document, whenever it is asked.
pub fn value(client: u64, path: &str) -> Value {
    let say = |name: &str| format!("{client}{path}{name}");
    json!({"a": say("/a"), "b": say("/b"), "c": null, "d": say("/d")})
}

/// The list of a document with a long table, and how many rows that has.
pub const LIST: &str = "rows";
const ROWS: usize = 75;
const ROWS_A_PAGE: usize = 5;

fn row(number: usize) -> Value {
    json!({"a": format!("A{number:03}"), "b": number * 7, "c": null, "d": format!("text{number}")})
}

/// All rows of the table, the same in all documents.
pub fn rows() -> Vec<Value> {
    (0..ROWS).map(row).collect()
}

/// The document of all clients: a table over many pages, or next to nothing.
pub fn text(weather: &Weather) -> String {
    if !weather.has_rows {
        return String::new();
    }
    let line = |number: usize| format!("A{number:03}    {:>6}    text{number:<4}\n", number * 7);
    let lines: Vec<String> = (0..ROWS).map(line).collect();
    let pages = lines.chunks(ROWS_A_PAGE).map(|page| page.concat());
    pages.collect::<Vec<_>>().join("\u{c}")
}

/// The rows that stand in what a call shows.
fn shown(document: &Document) -> Vec<Value> {
    let lines = document.pages.iter().flat_map(|page| page.text.lines());
    let numbers = lines.filter_map(|line| line.strip_prefix('A')?.get(..3)?.parse().ok());
    numbers.map(row).collect()
}

/// Whether these are rows of the table in their order, none of them twice.
pub fn are_rows(found: &Value) -> bool {
    let mut all = rows().into_iter();
    let found = found.as_array();
    found.is_some_and(|found| found.iter().all(|row| all.any(|one| one == *row)))
}

/// What it says of a subtree: a part, or the document with that part alone.
pub fn said(client: u64, id: &str, path: &Pointer) -> Value {
    let part = value(client, &format!("/{id}"));
    if path.is_root() {
        json!({ id: part })
    } else {
        part
    }
}

/// The part that must be there where [`BINDING`] is, when the schema binds them.
pub const BOUND: &str = "part1";
pub const BINDING: &str = "part0";

/// One schema, cut into so many subtrees.
pub fn schema(weather: &Weather) -> Value {
    let mut part = json!({"type": "object", "properties": {"a": {}, "b": {}, "c": {}, "d": {}}});
    if weather.is_bound {
        part["required"] = json!(["a"]);
    }
    let parts = (0..weather.subtrees).map(|index| (format!("part{index}"), part.clone()));
    let parts: serde_json::Map<_, _> = parts.collect();
    let mut schema = json!({"type": "object", "properties": parts});
    if weather.has_rows {
        let row = json!({"type": "object", "properties": {"a": {}, "b": {}, "c": {}, "d": {}}});
        schema["properties"][LIST] = json!({"type": "array", "items": row});
    }
    if weather.is_bound {
        schema["dependentRequired"] = json!({BINDING: [BOUND]});
    }
    schema
}

/// The model as one process reaches it.
pub struct Simulated {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

#[derive(Debug, Clone, Copy)]
enum Course {
    Answer,
    Fail(Fault, Option<u64>),
    /// The answer ends before it is whole.
    Cut,
    Panic,
    /// Nothing comes until the connection is given up.
    Hang,
}

/// A call under way; over when dropped.
struct Asking {
    world: Arc<World>,
    life: Arc<Life>,
    client: u64,
    subtrees: Vec<usize>,
    /// Names what the call shows of the document.
    window: String,
}

impl Asking {
    fn begin(world: &Arc<World>, life: &Arc<Life>, call: &Call) -> Self {
        let client = super::client::parse(call.additional_instructions.as_deref());
        world.note(|| format!("{life} asks for {:?} of client {client}", call.subtrees));
        let disk = world.disk.lock();
        for index in &call.subtrees {
            let of = || format!("{life} asks for subtree {index} of client {client}");
            if *life.is_stopping.lock() {
                world.violate(format!("{}: it is stopping", of()));
            }
            let mut ledger = world.ledger.lock();
            let window = &call.document.sha256;
            let held = ledger.ask(&disk, life.number, client, (*index, window));
            let is_list = call.plan.subtrees[*index].id == LIST;
            let held = held.and_then(|()| match is_list && world.weather.broken == 0 {
                true => ledger.is_news(&disk, life.number, client, &shown(&call.document)),
                false => Ok(()),
            });
            drop(ledger);
            world.hold(held, of);
        }
        Self {
            world: Arc::clone(world),
            life: Arc::clone(life),
            client,
            subtrees: call.subtrees.clone(),
            window: call.document.sha256.clone(),
        }
    }
}

impl Asking {
    /// A moment is given to a call that was dropped just now.
    async fn is_alone(&self) {
        sleep(Duration::from_millis(1)).await;
        for index in &self.subtrees {
            let ledger = self.world.ledger.lock();
            let asking = ledger.asking(self.life.number, self.client, (*index, &self.window));
            drop(ledger);
            if asking > 1 {
                let (life, client) = (&self.life, self.client);
                self.world.violate(format!(
                    "{life} asks {asking} times at once for subtree {index} of client {client}"
                ));
            }
        }
    }
}

impl Asking {
    /// From here on it may be asked for anew, since it breaks a bond, while the call goes on.
    fn answered(&mut self, index: usize) {
        self.subtrees.retain(|asked| *asked != index);
        let mut ledger = self.world.ledger.lock();
        ledger.asked(self.life.number, self.client, (index, &self.window));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut ledger = self.world.ledger.lock();
        for index in &self.subtrees {
            ledger.asked(self.life.number, self.client, (*index, &self.window));
        }
    }
}

impl Simulated {
    /// Whether a subtree is overlooked this time.
    fn overlooks(world: &World, life: &Life, subtree: &Subtree) -> bool {
        let may = world.weather.is_bound && subtree.id == BOUND && !world.is_calm();
        may && life.dice.lock().roll(100) < world.weather.overlooks
    }

    fn course(world: &World, life: &Life) -> (u64, Course) {
        let mut dice = life.dice.lock();
        let thinking = 1 + dice.roll(world.weather.thinking);
        let is_plain = world.is_calm() || dice.roll(100) >= world.weather.faults;
        if is_plain {
            return (thinking, Course::Answer);
        }
        let course = match dice.roll(12) {
            0 => Course::Panic,
            1 => Course::Hang,
            2..4 => Course::Cut,
            _ => {
                let fault = Fault::ALL[dice.roll(Fault::ALL.len() as u64) as usize];
                let hint = (dice.roll(4) == 0).then(|| dice.roll(2_000));
                Course::Fail(fault, hint)
            }
        };
        (thinking, course)
    }
}

impl Provider for Simulated {
    fn models(&self) -> Vec<Model> {
        vec![Model {
            id: NAME.into(),
            display_name: NAME.into(),
            description: String::new(),
            provider: NAME.into(),
            ignores: Vec::new(),
            document_inputs: vec![DocumentInput::Text],
            attachment_limits: None,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }]
    }

    fn manner(&self, _model: &str) -> Manner {
        Manner {
            takes_corrections: self.world.weather.is_bound,
            output_tokens: self.world.weather.has_rows.then_some(8_000),
            ..Manner::default()
        }
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let (world, life) = (Arc::clone(&self.world), Arc::clone(&self.life));
        async_stream::stream! {
            life.awake().await;
            let mut asking = Asking::begin(&world, &life, &call);
            asking.is_alone().await;
            for index in call.subtrees {
                let (thinking, course) = Self::course(&world, &life);
                sleep(Duration::from_millis(thinking)).await;
                if let Course::Hang = course {
                    world.until_calm().await;
                }
                life.awake().await;
                match course {
                    Course::Answer => {
                        let subtree = &call.plan.subtrees[index];
                        let value = match Self::overlooks(&world, &life, subtree) {
                            true => json!({}),
                            false if subtree.id == LIST => {
                                let rows = json!(shown(&call.document));
                                if subtree.path.is_root() { json!({ LIST: rows }) } else { rows }
                            }
                            false => said(asking.client, &subtree.id, &subtree.path),
                        };
                        asking.answered(index);
                        yield Ok(Answer::Subtree { index, value, attributions: Attributions::new(), logprobs: Logprobs::new() });
                    }
                    Course::Cut => return,
                    // Without the word of the panic hook.
                    Course::Panic => std::panic::resume_unwind(Box::new("planned")),
                    Course::Hang => {
                        yield Err(planned(Fault::Timeout, None));
                        return;
                    }
                    Course::Fail(fault, hint) => {
                        yield Err(planned(fault, hint));
                        return;
                    }
                }
            }
            yield Ok(Answer::Usage(Usage {
                provider: NAME.into(),
                model: NAME.into(),
                prompt_token_count: 10,
                total_token_count: 10,
                request_count: 1,
                ..Usage::default()
            }));
        }
        .boxed()
    }
}

fn planned(fault: Fault, retry_after_ms: Option<u64>) -> CallError {
    CallError {
        fault,
        message: format!("planned: {}", fault.name()),
        retry_after_ms,
    }
}
