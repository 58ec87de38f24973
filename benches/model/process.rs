//! The server in a process of its own, and a client of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;
use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::model::{KEY, Server, Wire};

/// Ends with this handle.
pub struct Process {
    child: Child,
    base: String,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How clients call the model of each wire.
pub fn model_of(wire: Wire) -> &'static str {
    match wire {
        Wire::Gemini => "gemini-2.5-flash",
        Wire::OpenAi => "gpt-4o-mini",
        Wire::Anthropic => "claude-haiku-4-5",
    }
}

/// When the parts of a job came, and what it ended with.
pub struct Seen {
    pub asked: Instant,
    pub first: Option<Instant>,
    pub ended: Instant,
    pub end: Value,
}

impl Process {
    /// With all three vendors at `server`. `output_tokens` is what an answer may have.
    pub fn start(server: &Server, stream: bool, output_tokens: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        command.arg("serve");
        let mut config = String::new();
        for (wire, name) in [
            (Wire::Gemini, "gemini"),
            (Wire::OpenAi, "openai"),
            (Wire::Anthropic, "anthropic"),
        ] {
            let prefix = name.to_uppercase();
            command
                .env(format!("{prefix}_API_KEY"), KEY)
                .env(format!("{prefix}_BASE_URL"), server.base(wire));
            config.push_str(&format!("[servers.{name}]\nstream = {stream}\n"));
        }
        let file = folder.path().join("rivulet.toml");
        std::fs::write(&file, config).unwrap();
        if let Some(tokens) = output_tokens {
            let small = |wire| (model_of(wire).to_owned(), json!({"output_tokens": tokens}));
            let profiles: serde_json::Map<_, _> = Wire::ALL.into_iter().map(small).collect();
            let file = folder.path().join("models.json");
            std::fs::write(&file, json!(profiles).to_string()).unwrap();
            command.arg("--model-profiles").arg(file);
        }
        let mut child = command
            .args(["--bind", "127.0.0.1:0", "--max-active-jobs", "1000"])
            .arg("--config")
            .arg(file)
            .arg("--data")
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            base: line.trim().rsplit(' ').next().unwrap().to_owned(),
            client: Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        }
    }

    pub async fn upload(&self, text: String) -> Value {
        self.upload_file("note.txt", text.into_bytes()).await
    }

    pub async fn upload_file(&self, name: &str, bytes: Vec<u8>) -> Value {
        let part = Part::bytes(bytes).file_name(name.to_owned());
        let form = Form::new().part("file", part);
        let url = format!("{}/v1/extract/documents/upload", self.base);
        let answer = self.client.post(url).multipart(form).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["document_id"].clone()
    }

    /// Runs a job to its end.
    pub async fn run(&self, body: &Value) -> Seen {
        let asked = Instant::now();
        let url = format!("{}/v1/extract/jobs", self.base);
        let answer = self.client.post(url).json(body).send().await.unwrap();
        let mut chunks = answer.bytes_stream();
        let (mut text, mut first) = (String::new(), None);
        let mut ended = asked;
        while let Some(chunk) = chunks.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
            ended = Instant::now();
            if first.is_none() && text.contains("event: subtree_result\n") {
                first = Some(ended);
            }
        }
        let end = text
            .rfind("event: end\ndata: ")
            .unwrap_or_else(|| panic!("{text}"));
        let line = text[end..].lines().nth(1).unwrap();
        Seen {
            asked,
            first,
            ended,
            end: serde_json::from_str(line.trim_start_matches("data: ")).unwrap(),
        }
    }

    pub async fn results(&self, job: &str) -> Value {
        let url = format!("{}/v1/extract/jobs/{job}/results", self.base);
        let answer = self.client.get(url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Memory now and at most since [`Process::forget_peak`], KiB.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (of("VmRSS"), of("VmHWM"))
    }

    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }
}

pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Load of the machine in the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// An object of so many parts with four fields each.
pub fn wide(parts: usize) -> Value {
    let field = json!({"type": ["string", "null"]});
    let fields = json!({"a": field, "b": field, "c": field, "d": field});
    let part = json!({"type": "object", "properties": fields});
    let parts: serde_json::Map<_, _> = (0..parts)
        .map(|index| (format!("part_{index:03}"), part.clone()))
        .collect();
    json!({"type": "object", "properties": parts})
}
