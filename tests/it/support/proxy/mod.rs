//! A TCP proxy in front of the real server: it forwards bytes, at once or slowly, cuts answers off, breaks in
//! with a 502, answers some addresses itself, and remembers every request.

mod conversation;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Longer than anything takes: what never comes fails the test instead of hanging it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Where in an answer, its head included.
#[derive(Debug, Clone)]
pub enum Place {
    /// After that many bytes.
    Bytes(usize),
    /// Right behind the first occurrence of a text.
    Behind(String),
}

/// What happens to the answer to a request.
#[derive(Debug, Clone)]
pub enum Fate {
    /// The connection is closed in good order as far as TCP goes, the answer being unfinished.
    Close(Place),
    /// The connection is reset; bytes that the client has not read yet are lost too.
    Reset(Place),
    /// No more bytes, and nobody says so.
    Silence(Place),
    /// The server is not asked.
    BadGateway,
    /// All of it, so many bytes at a time with a pause after each.
    Slow(usize, Duration),
}

/// A request that came through, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub last_event_id: Option<String>,
    /// Of the answer, once it began.
    pub status: Option<u16>,
    /// The fate was a cut, and it came.
    pub was_cut: bool,
}

#[derive(Default)]
struct State {
    fates: VecDeque<Fate>,
    seen: Vec<Seen>,
    pages: HashMap<String, (&'static str, Vec<u8>)>,
    said: VecDeque<String>,
}

struct Shared {
    upstream: SocketAddr,
    /// Which requests are followed: they have fates, and are counted.
    followed: fn(&Seen) -> bool,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Requests of event streams by GET.
pub fn streams(seen: &Seen) -> bool {
    seen.method == "GET" && seen.path.split('?').next().unwrap().ends_with("/events")
}

impl Proxy {
    pub async fn before(upstream: SocketAddr, followed: fn(&Seen) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            followed,
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let shared_too = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            // Goes with this task, and the connections with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared_too);
                connections.spawn(async move { conversation::hold(&shared, client).await });
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The fates of the next followed requests; after them answers pass whole.
    pub fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared.state.lock().fates.extend(fates);
    }

    /// Answers GET of this path by itself.
    pub fn serve(&self, path: &str, content_type: &'static str, body: Vec<u8>) {
        let mut state = self.shared.state.lock();
        state.pages.insert(path.to_owned(), (content_type, body));
    }

    /// The followed requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().seen.clone()
    }

    /// Waits until that many followed requests have come.
    pub async fn requests(&self, count: usize) {
        self.when("requests", |state| state.seen.len() >= count)
            .await;
    }

    /// Waits until that many answers were cut.
    pub async fn cuts(&self, count: usize) {
        let is_so = |state: &State| state.seen.iter().filter(|seen| seen.was_cut).count() >= count;
        self.when("cuts", is_so).await;
    }

    /// The next body that was posted to `/said`, which nobody else answers.
    pub async fn said(&self) -> String {
        self.when("words of the page", |state| !state.said.is_empty())
            .await;
        self.shared.state.lock().said.pop_front().unwrap()
    }

    async fn when(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            while !is_so(&self.shared.state.lock()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("no {what}; seen: {:#?}", self.seen());
        }
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state.lock());
        self.changed.send_replace(());
        value
    }
}
