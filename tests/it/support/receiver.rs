//! A receiver of webhooks on this machine that answers as it is told.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rivulet::domain::webhook::{Secret, signatures};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_mins(1);

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Status(u16),
    /// Elsewhere, to the path `/moved` of the same receiver.
    Moved,
    /// Not at all, until the connection is closed.
    Never,
    /// The connection is closed at once.
    Cut,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    /// Names in lower case.
    pub headers: Map<String, Value>,
    pub body: String,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].as_str().unwrap()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn payload(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of its signatures is by this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let secret = [Secret::parse(secret).unwrap()];
        let seconds = self.header("webhook-timestamp").parse().unwrap();
        let own = signatures(&secret, self.id(), seconds, self.body.as_bytes());
        let mut signatures = self.header("webhook-signature").split(' ');
        signatures.any(|signature| signature == own)
    }

    /// For a program that verifies it.
    pub fn told(&self, secrets: &[&str]) -> Value {
        json!({"secrets": secrets, "headers": self.headers, "body": self.body})
    }
}

type Answers = dyn Fn(usize, &Call) -> Reply + Send + Sync;

pub struct Receiver {
    pub base: String,
    calls: watch::Sender<Vec<Call>>,
    answers: Arc<Mutex<Arc<Answers>>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    /// Told the number of the request, from 0, and the request.
    pub async fn start(answers: impl Fn(usize, &Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", answers).await
    }

    pub async fn at(
        address: &str,
        answers: impl Fn(usize, &Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (calls, _) = watch::channel(Vec::new());
        let answers: Arc<Mutex<Arc<Answers>>> = Arc::new(Mutex::new(Arc::new(answers)));
        let (list, how) = (calls.clone(), Arc::clone(&answers));
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, list.clone(), Arc::clone(&how)));
            }
        });
        Self {
            base,
            calls,
            answers,
            serving,
        }
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, reply: Reply) {
        *self.answers.lock() = Arc::new(move |_, _| reply);
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn seen(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Waits until so many requests have come, and gives all that came.
    pub async fn calls(&self, count: usize) -> Vec<Call> {
        let mut calls = self.calls.subscribe();
        let come = calls.wait_for(|calls| calls.len() >= count);
        let come = tokio::time::timeout(PATIENCE, come).await;
        let come = come.unwrap_or_else(|_| panic!("{} of {count} came", self.seen().len()));
        come.unwrap().clone()
    }
}

async fn serve(
    socket: TcpStream,
    calls: watch::Sender<Vec<Call>>,
    answers: Arc<Mutex<Arc<Answers>>>,
) {
    let mut socket = BufReader::new(socket);
    let Some(call) = read(&mut socket).await else {
        return;
    };
    let (answers, mut number) = (Arc::clone(&*answers.lock()), 0);
    calls.send_modify(|calls| {
        number = calls.len();
        calls.push(call.clone());
    });
    let head = match answers(number, &call) {
        Reply::Status(status) => format!("HTTP/1.1 {status} Told\r\n"),
        Reply::Moved => "HTTP/1.1 302 Found\r\nLocation: /moved\r\n".to_owned(),
        Reply::Never => {
            // Until the sender has given up.
            let _ = socket.read(&mut [0; 16]).await;
            return;
        }
        Reply::Cut => return,
    };
    let answer = format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Call> {
    let (mut head, mut headers) = (String::new(), Map::new());
    socket.read_line(&mut head).await.ok()?;
    let path = head.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), json!(value));
    }
    let length = headers.get("content-length")?.as_str()?.parse().ok()?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Call {
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
