//! A real browser without a window, and what it made of a page.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::clients::Running;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Virtual time a page gets to draw itself, milliseconds; it runs ahead of the clock on the wall
/// while nothing is loading.
const BUDGET_MS: u32 = 10_000;
/// Real time after which the browser gives up, milliseconds.
const PATIENCE_MS: u32 = 60_000;

const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    // Whatever a page asks of another host fails, and is complained of.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
];

/// A browser that stays at a page in real time until it is dropped.
pub struct Window {
    // Its own children leave when it is gone.
    _browser: Running,
    _profile: tempfile::TempDir,
}

impl Window {
    pub fn open(browser: &str, url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(browser);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            _browser: Running(command.spawn().unwrap()),
            _profile: profile,
        }
    }
}

/// One element of a drawn page.
#[derive(Debug, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

/// A page as the browser had it in the end.
#[derive(Debug)]
pub struct Drawn {
    pub elements: Vec<Element>,
    /// All text, one space for each run of white space.
    pub text: String,
    /// What the browser said of the page: refused loads, errors of scripts.
    pub complaints: Vec<String>,
}

/// The browser's command, or a word in the list of skipped tests.
pub fn find(test: &str) -> Option<&'static str> {
    let path = std::env::var_os("PATH")?;
    let is_there =
        |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    let found = NAMES.into_iter().find(is_there);
    if found.is_none() {
        skip(test, "no Chromium on the PATH");
    }
    found
}

/// Notes that a test cannot be run here.
pub fn skip(test: &str, reason: &str) {
    let Some(list) = std::env::var_os("RIVULET_SKIPPED") else {
        return;
    };
    let list = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(list);
    // In one piece: others may be writing too.
    let line = format!("{test}: {reason}\n");
    list.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Opens an address and lets the page draw itself.
pub async fn draw(browser: &'static str, url: String) -> Drawn {
    let work = tokio::task::spawn_blocking(move || {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(browser);
        command
            .args(FLAGS)
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--virtual-time-budget={BUDGET_MS}"))
            .arg(format!("--timeout={PATIENCE_MS}"))
            .arg(url);
        command.output().unwrap()
    });
    let output = work.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let html = String::from_utf8(output.stdout).unwrap();
    assert!(html.contains("</html>"), "no page was drawn: {said}");
    let complaints = said.lines().filter(|line| line.contains(":CONSOLE"));
    let complaints = complaints.map(str::to_owned).collect();
    let (elements, text) = parse(&html);
    Drawn {
        elements,
        text,
        complaints,
    }
}

impl Drawn {
    pub fn count(&self, name: &str) -> usize {
        self.elements
            .iter()
            .filter(|element| element.name == name)
            .count()
    }
}

/// Elements and text of HTML as a browser writes it: attributes in double quotes, everything
/// else escaped.
fn parse(html: &str) -> (Vec<Element>, String) {
    let (mut elements, mut text, mut rest) = (Vec::new(), String::new(), html);
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        rest = &rest[open + 1..];
        let (tag, after) = tag(rest);
        rest = after;
        text.push(' ');
        if tag.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            elements.push(tag);
        }
    }
    text.push_str(rest);
    let words: Vec<_> = text.split_whitespace().map(unescape).collect();
    (elements, words.join(" "))
}

/// A tag from behind its `<`, and what follows its `>`.
fn tag(mut rest: &str) -> (Element, &str) {
    let end = rest.find([' ', '>', '\n']).unwrap_or(rest.len());
    let mut element = Element {
        name: rest[..end].to_ascii_lowercase(),
        attributes: Vec::new(),
    };
    rest = rest[end..].trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '>' {
            return (element, &rest[1..]);
        }
        let end = rest.find(['=', '>', ' ']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let (inside, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            value = unescape(inside);
            rest = after;
        }
        element.attributes.push((name, value));
        rest = rest.trim_start();
    }
    (element, rest)
}

fn unescape(text: &str) -> String {
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    plain.replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
}

/// A door in front of a server that hands out one page in a version of its own, so that a script
/// may act on it as a person would; everything else is the server's. Gives its address.
pub async fn acted_on(
    server: SocketAddr,
    page: &'static str,
    html: String,
    script: &str,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let html = html.replace("</head>", "<script src=\"/act.js\"></script></head>");
    let script = script.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let own = [
                ("text/html", page, html.clone()),
                ("text/javascript", "/act.js", script.clone()),
            ];
            tokio::spawn(pass(client, server, own));
        }
    });
    address
}

/// One request of one connection.
async fn pass(mut client: TcpStream, server: SocketAddr, own: [(&str, &str, String); 2]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    if let Some((kind, _, text)) = own.iter().find(|(_, wanted, _)| path.starts_with(wanted)) {
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        );
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let mut upstream = TcpStream::connect(server).await.unwrap();
    let head = head.replace("Connection: keep-alive", "Connection: close");
    upstream.write_all(head.as_bytes()).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}
