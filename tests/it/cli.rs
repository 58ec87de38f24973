//! The binary as its users meet it.

mod keys;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A place of its own for one test: working folder and temporary files.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        let given = std::env::vars().map(|(name, _)| name);
        for name in given.filter(|name| name.starts_with("RIVULET_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.folder.path().join("tmp"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.folder.path().join(name), text).unwrap();
        name.to_owned()
    }

    fn left_behind(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Starts a command that runs until it is told to stop.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

/// A process that is killed when its test is over.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Lines of stdout up to and including the first that contains `what`.
    fn read_to(&mut self, what: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).unwrap();
            assert!(length > 0, "no `{what}` in {seen:?}");
            seen.push(line.trim_end().to_owned());
            if line.contains(what) {
                return seen;
            }
        }
    }

    fn url(&mut self) -> String {
        let line = self.read_to("listening on ").remove(0);
        line.strip_prefix("listening on ").unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; gives the exit code and what was still said on stdout.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a GET, read until the server closes or the stream ends.
fn get(url: &str) -> String {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
    folder.join(name).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fetches the page of the job, its events and its state at the addresses that a demo gives.
fn try_three_things(said: &str) {
    let after = said
        .split_once("three things")
        .or_else(|| said.split_once("Three things"));
    let words = after.unwrap().1.split_whitespace();
    let urls: Vec<_> = words.filter(|word| word.starts_with("http://")).collect();
    let [page, events, poll] = urls[..] else {
        panic!("{said}")
    };
    assert!(get(page).contains("<html"));
    let events = get(events);
    assert!(
        events.contains("event: start\n") && events.contains("event: end\n"),
        "{events}"
    );
    assert!(get(poll).contains(r#""status":"completed""#));
}

/// Starts the `serve` line that a demo gives.
fn serve_as_told(bench: &Bench, said: &str) -> Running {
    let line = said
        .lines()
        .find(|line| line.contains(" serve --bind "))
        .unwrap();
    let arguments: Vec<_> = line
        .split_whitespace()
        .skip_while(|word| *word != "serve")
        .collect();
    let mut server = bench.start(&arguments);
    server.url();
    server
}

#[test]
fn the_demo_shows_every_event_with_places_and_its_last_lines_are_true() {
    let bench = Bench::new();
    let output = bench.run(&["demo"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for event in ["start", "job_status", "subtree_result", "end"] {
        assert!(said.contains(&format!("ms  {event}")), "{event} in {said}");
    }
    assert!(
        said.contains("'FA-2017-0009'") && said.contains("page 1, top left"),
        "{said}"
    );
    assert!(said.contains(r#""number": "FA-2017-0009""#), "{said}");
    assert!(said.contains("demo --keep"), "{said}");
    assert_eq!(text(&output.stderr), "");
    let [data] = &bench.left_behind()[..] else {
        panic!("the data is not where it was left")
    };
    assert!(said.contains(&data.display().to_string()), "{said}");
    let _server = serve_as_told(&bench, &said);
    try_three_things(&said);
}

#[test]
fn a_kept_demo_serves_until_it_is_stopped_and_leaves_its_data() {
    let bench = Bench::new();
    let mut demo = bench.start(&["demo", "--keep"]);
    let said = demo.read_to("Ctrl-C").join("\n");
    try_three_things(&said);
    demo.signal("-INT");
    let (code, rest) = demo.end();
    assert_eq!(code, Some(0));
    let _server = serve_as_told(&bench, &rest);
    try_three_things(&said);
}

#[test]
fn a_server_says_one_line_when_it_is_ready_and_ends_with_zero_when_told_to() {
    let bench = Bench::new();
    for signal in ["-TERM", "-INT"] {
        let mut server = bench.start(&["serve", "--bind", "127.0.0.1:0"]);
        let url = server.url();
        assert!(!url.ends_with(":0"), "{url}");
        get(&format!("{url}/healthz"));
        server.signal(signal);
        assert_eq!(server.end(), (Some(0), String::new()));
    }
    assert!(bench.folder.path().join("rivulet-data/rivulet.db").exists());
}

#[test]
fn a_second_signal_ends_a_server_that_waits_for_its_connections() {
    let bench = Bench::new();
    let mut server = bench.start(&["serve", "--bind", "127.0.0.1:0"]);
    let url = server.url();
    // A body that never comes: the server says that it waits for it.
    let mut half = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /v1/extract/schemas HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                Content-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    half.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    half.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
    server.signal("-TERM");
    assert!(log.any(|line| line.unwrap().contains("serve.stopping")));
    server.signal("-TERM");
    assert_eq!(server.end().0, Some(130));
}

#[test]
fn a_port_that_is_taken_is_refused_with_the_next_step_and_no_folder_is_made() {
    let bench = Bench::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = bench.run(&["serve", "--bind", &address]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains(&address) && error.contains("--bind 127.0.0.1:0"),
        "{error}"
    );
    assert_eq!(text(&output.stdout), "");
    assert!(!bench.folder.path().join("rivulet-data").exists());
}

#[test]
fn a_data_folder_has_one_server_at_a_time() {
    let bench = Bench::new();
    let arguments = ["serve", "--bind", "127.0.0.1:0", "--data", "d"];
    let mut first = bench.start(&arguments);
    first.url();
    let output = bench.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("The data folder `d` is in use"));
    first.signal("-KILL");
    first.end();
    bench.start(&arguments).url();
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_made() {
    let bench = Bench::new();
    let refused = |output: Output| {
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    let error = refused(bench.run(&["serve", "--bind", "0.0.0.0:8080"]));
    assert!(
        error.contains("rivulet keys create") && error.contains("flag --bind"),
        "{error}"
    );
    assert!(!bench.folder.path().join("rivulet-data").exists());
    let mut command = bench.command(&["serve"]);
    let error = refused(command.env("RIVULET_MAX_READS", "0").output().unwrap());
    assert!(
        error.contains("`0`") && error.contains("RIVULET_MAX_READS"),
        "{error}"
    );
    let file = bench.write("r.toml", "colour = 1");
    let error = refused(bench.run(&["serve", "--config", &file]));
    assert!(
        error.contains("`colour`") && error.contains("r.toml"),
        "{error}"
    );
    let error = refused(bench.run(&["serve", "--bind", "127.0.0.1:0", "--default-model", "x"]));
    assert!(
        error.contains("`x` is not a model") && error.contains("layout"),
        "{error}"
    );
}

#[test]
fn extract_prints_the_result_alone_to_stdout_and_ends_with_zero() {
    let bench = Bench::new();
    let (file, schema) = (example("invoice.pdf"), example("invoice.schema.json"));
    let output = bench.run(&["extract", &file, "--schema", &schema]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["number"], "FA-2017-0009");
    assert!(text(&output.stderr).contains("subtree_result"));
    assert_eq!(bench.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn extract_with_json_gives_one_line_with_places_and_metadata() {
    let bench = Bench::new();
    let (file, schema) = (example("invoice.pdf"), example("invoice.schema.json"));
    let arguments = [
        "extract",
        &file,
        "--schema",
        &schema,
        "--json",
        "--output",
        "o.json",
        "--instructions",
        "x",
    ];
    let output = bench.run(&arguments);
    assert_eq!(text(&output.stdout), "");
    let written = fs::read_to_string(bench.folder.path().join("o.json")).unwrap();
    assert_eq!(written.lines().count(), 1);
    let body: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(
        body["attributions"]["/number"]["quotes"][0]["verified"],
        true
    );
    assert_eq!(body["metadata"]["status"], "completed");
    assert_eq!(body["metadata"]["failed_subtrees"], serde_json::json!([]));
    assert!(body["metadata"]["usage_metadata"]["request_count"].is_u64());
    assert_eq!(
        body["metadata"]["warnings"][0]["field"],
        "additional_instructions"
    );
}

#[test]
fn extract_reads_stdin_and_ends_with_three_when_the_schema_does_not_allow_a_value() {
    let bench = Bench::new();
    let schema = bench.write("s.json", r#"{"type": "object", "properties": {"shoe_size": {"type": "integer"}}, "required": ["shoe_size"]}"#);
    let text_file = bench.write("d.txt", "Invoice number: 77\n");
    let mut command = bench.command(&["extract", "-", "--schema", &schema, "--json"]);
    let input = fs::File::open(bench.folder.path().join(text_file)).unwrap();
    let output = command.stdin(input).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["metadata"]["validation"]["valid"], false);
}

#[test]
fn extract_ends_with_two_when_its_input_cannot_be_used() {
    let bench = Bench::new();
    let (file, schema) = (example("invoice.pdf"), example("invoice.schema.json"));
    let broken = bench.write("broken.json", r#"{"type": "strin"}"#);
    let no_json = bench.write("no.json", "{");
    let empty = bench.write("empty.txt", "");
    let cases: [(&[&str], &str); 6] = [
        (&[&file, "--schema", "none.json"], "none.json"),
        (&[&file, "--schema", &no_json], "not JSON"),
        (&[&file, "--schema", &broken], "/type"),
        (&["none.pdf", "--schema", &schema], "none.pdf"),
        (&[&empty, "--schema", &schema], "no bytes"),
        (
            &[&file, "--schema", &schema, "--model", "x"],
            "Models are: layout",
        ),
    ];
    for (arguments, what) in cases {
        let output = bench.run(&[&["extract"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(what),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), "");
    }
    assert_eq!(bench.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn extract_ends_with_one_when_the_result_cannot_be_written() {
    let bench = Bench::new();
    let (file, schema) = (example("invoice.pdf"), example("invoice.schema.json"));
    let output = bench.run(&[
        "extract",
        &file,
        "--schema",
        &schema,
        "--output",
        "no/such/folder.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no/such/folder.json"));
}

#[test]
fn plan_shows_the_same_subtrees_as_a_table_and_as_json() {
    let bench = Bench::new();
    let schema = example("invoice.schema.json");
    let output = bench.run(&["plan", &schema, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let subtrees = plan["subtrees"].as_array().unwrap();
    let fields = subtrees
        .iter()
        .map(|subtree| subtree["total_fields"].as_u64().unwrap());
    assert_eq!(plan["total_fields"], fields.sum::<u64>());
    assert_eq!(plan["total_subtrees"], subtrees.len());

    let table = text(&bench.run(&["plan", &schema]).stdout);
    for subtree in subtrees {
        let id = subtree["subtree_id"].as_str().unwrap();
        assert!(
            table.lines().any(|line| line.split(' ').next() == Some(id)),
            "{id} in {table}"
        );
    }
    let total = format!(
        "{} subtrees, {} fields",
        subtrees.len(),
        plan["total_fields"]
    );
    assert_eq!(table.lines().last(), Some(total.as_str()));
}

#[test]
fn plan_with_a_document_and_a_model_says_what_a_job_would_take() {
    let bench = Bench::new();
    let (file, schema) = (example("invoice.pdf"), example("invoice.schema.json"));
    let arguments = [
        "plan",
        &schema,
        "--document",
        &file,
        "--model",
        "gemini-2.5-flash",
    ];
    let run = |more: &[&str]| {
        let mut command = bench.command(&arguments);
        // No model is asked, so any key will do.
        command.args(more).env("GEMINI_API_KEY", "not-a-key");
        command.output().unwrap()
    };
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::support::schemas::check("explained_plan", &plan);
    let estimate = &plan["forecast"]["estimate"];
    assert_eq!(plan["forecast"]["pages"], 1);
    assert_eq!(plan["calls"].as_array().unwrap().len(), estimate["calls"]);
    assert!(estimate["cost_usd"]["likely"].as_f64().unwrap() > 0.0);

    let report = text(&run(&["--packing", "cheap"]).stdout);
    for word in ["call 1: ", "packing:        cheap", "US dollars:", "1 page"] {
        assert!(report.contains(word), "{word} in {report}");
    }
    assert_eq!(run(&["--packing", "quick"]).status.code(), Some(2));
    let unknown = bench.run(&["plan", &schema, "--model", "gemini-2.5-flash"]);
    assert_eq!(unknown.status.code(), Some(2), "there is no key for it");
    assert_eq!(bench.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn a_reference_to_a_stored_schema_is_refused_with_the_server_to_ask() {
    let bench = Bench::new();
    let schema = r#"{"$ref": "https://example.com/party.json#/$defs/name"}"#;
    let (schema, file) = (bench.write("order.json", schema), example("invoice.pdf"));
    let cases: [(&[&str], &str); 3] = [
        (&["plan", &schema], "/v1/extract/plans"),
        (&["plan", &schema, "--packing", "fast"], "/v1/extract/plans"),
        (&["extract", &file, "--schema", &schema], "/v1/extract/jobs"),
    ];
    for (arguments, route) in cases {
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        let next = format!(
            "send the schema to POST {route} of the server that has `https://example.com/party.json`"
        );
        assert!(said.contains(&next), "{said}");
    }
    let other = bench.write("other.json", r#"{"type": "strin"}"#);
    let said = text(&bench.run(&["plan", &other]).stderr);
    assert!(!said.contains("server that has"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let bench = Bench::new();
    let mut plan = bench
        .command(&["plan", &example("invoice.schema.json")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(plan.stdout.take());
    let output = plan.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}
