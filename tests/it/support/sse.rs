//! A reader of event streams that keeps every byte.

use futures_util::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};

use super::schemas;

/// One frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub event: String,
    pub data: String,
    pub id: String,
    /// The bytes of the frame, its blank line included; comments and `retry:` taken out.
    pub bytes: String,
}

impl Frame {
    pub fn payload(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    pub fn sequence(&self) -> u64 {
        self.id.rsplit('.').next().unwrap().parse().unwrap()
    }
}

/// An open stream.
pub struct Stream {
    pub response_status: u16,
    pub headers: reqwest::header::HeaderMap,
    chunks:
        std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: Vec<u8>,
    /// Comment and `retry:` lines and the payloads of pings, in order.
    pub beside: Vec<String>,
}

impl Stream {
    pub fn of(response: Response) -> Self {
        Self {
            response_status: response.status().as_u16(),
            headers: response.headers().clone(),
            chunks: Box::pin(response.bytes_stream()),
            buffer: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Reads more; false at a clean end, an error when the connection is cut inside the body.
    async fn more(&mut self) -> reqwest::Result<bool> {
        let Some(chunk) = self.chunks.next().await else {
            return Ok(false);
        };
        self.buffer.extend_from_slice(&chunk?);
        Ok(true)
    }

    /// A whole frame that has come already.
    fn ready(&mut self) -> Option<Frame> {
        loop {
            let at = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let bytes: Vec<u8> = self.buffer.drain(..at + 2).collect();
            let frame = self.frame(std::str::from_utf8(&bytes).unwrap());
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// The next frame; `None` at the end of the stream. Every payload is held against its schema.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready() {
                return Some(frame);
            }
            if !self.more().await.unwrap() {
                // The server's last word may be a line that belongs to no frame.
                let rest = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap();
                for line in rest.split_inclusive('\n') {
                    let is_beside = line.starts_with(':') || line.starts_with("retry: ");
                    assert!(
                        is_beside && line.ends_with('\n'),
                        "cut inside a frame: {rest:?}"
                    );
                    self.beside.push(line.trim_end().to_owned());
                }
                return None;
            }
        }
    }

    /// Whole frames up to the end of the stream, or to where the connection is cut; `see` is
    /// shown each as it comes.
    pub async fn until_cut(mut self, mut see: impl FnMut(&Frame)) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = self.ready() {
                see(&frame);
                frames.push(frame);
            }
            if !self.more().await.unwrap_or(false) {
                return frames;
            }
        }
    }

    /// Whole frames among the first `size` bytes, after which the connection is cut; false when
    /// the stream ended before.
    pub async fn within(mut self, size: usize) -> (Vec<Frame>, bool) {
        let mut was_cut = true;
        while self.buffer.len() < size && was_cut {
            was_cut = self.more().await.unwrap();
        }
        self.buffer.truncate(size);
        let mut frames = Vec::new();
        while let Some(frame) = self.ready() {
            frames.push(frame);
        }
        (frames, was_cut)
    }

    /// The next frame; `None` at the end of the stream and where it is cut.
    pub async fn next_or_cut(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready() {
                return Some(frame);
            }
            if !self.more().await.unwrap_or(false) {
                return None;
            }
        }
    }

    /// Waits for a ping and gives its payload.
    pub async fn ping(&mut self) -> Value {
        while self.beside.iter().all(|line| !line.starts_with('{')) {
            assert!(self.ready().is_none(), "an event came first");
            assert!(self.more().await.unwrap(), "the stream ended");
        }
        let payload = self.beside.iter().find(|line| line.starts_with('{'));
        serde_json::from_str(payload.unwrap()).unwrap()
    }

    /// Waits for the next heartbeat and gives the frames that came before it.
    pub async fn heartbeat(&mut self) -> Vec<Frame> {
        const HEARTBEAT: &[u8] = b":hb\n";
        let mut frames = Vec::new();
        while !self.buffer.starts_with(HEARTBEAT) {
            match self.ready() {
                Some(frame) => frames.push(frame),
                None => assert!(self.more().await.unwrap(), "the stream ended"),
            }
        }
        self.buffer.drain(..HEARTBEAT.len());
        frames
    }

    /// Waits for a comment line.
    pub async fn comment(&mut self, text: &str) {
        let line = text.trim_end();
        while !self.beside.iter().any(|beside| beside == line)
            && !String::from_utf8_lossy(&self.buffer).contains(text)
        {
            let more = self.more().await.unwrap();
            assert!(more, "the stream ended without {text:?}");
        }
    }

    /// `None` for a ping, which is no event of the log.
    fn frame(&mut self, text: &str) -> Option<Frame> {
        let (mut bytes, mut fields) = (String::new(), Vec::new());
        for line in text.trim_end_matches('\n').split('\n') {
            if line.starts_with(':') || line.starts_with("retry: ") {
                self.beside.push(line.to_owned());
                continue;
            }
            bytes.push_str(line);
            bytes.push('\n');
            let (name, value) = line.split_once(": ").expect("a field and its value");
            fields.push((name.to_owned(), value.to_owned()));
        }
        bytes.push('\n');
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        if names == ["event", "data"] {
            assert_eq!(fields[0].1, "ping", "{text}");
            let payload = serde_json::from_str(&fields[1].1).unwrap();
            schemas::check("ping", &payload);
            self.beside.push(payload.to_string());
            return None;
        }
        assert_eq!(names, ["event", "data", "id"], "{text}");
        let mut values = fields.into_iter().map(|(_, value)| value);
        let (event, data, id) = (
            values.next().unwrap(),
            values.next().unwrap(),
            values.next().unwrap(),
        );
        let frame = Frame {
            event,
            data,
            id,
            bytes,
        };
        let payload = frame.payload();
        assert_eq!(payload["type"], frame.event.as_str());
        schemas::check(&frame.event, &payload);
        Some(frame)
    }

    /// Everything up to the clean end of the stream.
    pub async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Frames up to and including the first of that event.
    pub async fn until(&mut self, event: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.expect("the stream goes on");
            let found = frame.event == event;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }
}

/// Asserts the log's own laws: numbers from 1 without gaps, one `start` first, one `end` last,
/// at most one outcome a subtree, times and progress that never fall.
pub fn assert_lawful(frames: &[Frame]) {
    let sequences: Vec<_> = frames.iter().map(Frame::sequence).collect();
    assert_eq!(sequences, (1..=frames.len() as u64).collect::<Vec<_>>());
    let named = |event: &str| frames.iter().filter(|frame| frame.event == event).count();
    assert_eq!((named("start"), named("end")), (1, 1));
    assert_eq!(frames[0].event, "start");
    assert_eq!(frames[frames.len() - 1].event, "end");
    let mut settled = std::collections::HashSet::new();
    let (mut time, mut share) = (String::new(), 0.0);
    for frame in frames {
        let payload = frame.payload();
        assert_eq!(payload["sequence_number"], frame.sequence());
        if matches!(frame.event.as_str(), "subtree_result" | "subtree_error") {
            let id = payload["subtree_id"].as_str().unwrap().to_owned();
            assert!(settled.insert(id), "two outcomes: {}", frame.data);
        }
        let now = payload["time"].as_str().unwrap().to_owned();
        assert!(now >= time, "time falls");
        time = now;
        if let Some(next) = payload["progress"]["completion_percentage"].as_f64() {
            assert!(next >= share, "progress falls");
            share = next;
        }
    }
}

/// The document a client rebuilds from a stream, by the rules of the protocol.
pub fn rebuild(frames: &[Frame]) -> Value {
    let mut document = Value::Object(serde_json::Map::new());
    for frame in frames
        .iter()
        .filter(|frame| frame.event == "subtree_result")
    {
        let payload = frame.payload();
        let mut at = &mut document;
        let path = payload["path"].as_str().unwrap().to_owned();
        for token in path.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            at = &mut at[key];
        }
        merge(at, payload["extracted_result"].clone());
    }
    document
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A value with numbers as JavaScript has them.
pub fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(as_floats).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members
                .map(|(key, value)| (key, as_floats(value)))
                .collect()
        }
        other => other,
    }
}
