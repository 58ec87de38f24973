//! A line to a database that can be cut: connections are refused, or bytes go nowhere and nobody
//! says so, or the one answer that matters is lost, or bytes trickle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// Connections are reset, new ones at once.
    Cut,
    /// Connections stay, and nothing comes through.
    Silent,
    /// The next commit arrives, and its connection is cut when its answer is on the way. Then the
    /// line is open.
    LosesCommit,
    /// Everything arrives, a few bytes at a time: about 25 kB a second.
    Slow,
}

/// What a slow line passes at once, and how long it then waits.
const TRICKLE: (usize, Duration) = (256, Duration::from_millis(10));

/// The state, and how often it was set: a connection of before a cut does not outlive it, however
/// short it was.
type Switch = watch::Sender<(State, u32)>;

pub struct Line {
    pub port: u16,
    state: Arc<Switch>,
    accepting: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Line {
    pub async fn to(port: u16) -> Self {
        let upstream = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new((State::Open, 0)));
        let of_connections = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(hold(client, upstream, Arc::clone(&of_connections)));
            }
        });
        Self {
            port,
            state,
            accepting,
        }
    }

    pub fn set(&self, state: State) {
        self.state.send_modify(|(now, turns)| {
            let is_break = matches!(state, State::Cut | State::Silent);
            *turns += u32::from(is_break);
            *now = state;
        });
    }

    pub fn state(&self) -> State {
        self.state.borrow().0
    }
}

async fn hold(mut client: TcpStream, upstream: SocketAddr, state: Arc<Switch>) {
    let mut seen = state.subscribe();
    let passes = |now: &State| matches!(now, State::Open | State::LosesCommit | State::Slow);
    let (now, turn) = *seen.borrow_and_update();
    // What is on its way when a line breaks is lost, also when it comes back.
    let mut kept = None;
    if passes(&now) {
        let mut server = TcpStream::connect(upstream).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        tokio::select! {
            () = carry(&mut client, &mut server, &state) => {}
            _ = seen.wait_for(|(_, turns)| *turns != turn) => {}
        }
        kept = Some(server);
    }
    let _ = seen.wait_for(|(now, _)| *now != State::Silent).await;
    drop(kept);
    let socket = socket2::SockRef::from(&client);
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Until one side is done, or the answer that is to be lost comes.
async fn carry(client: &mut TcpStream, server: &mut TcpStream, state: &Switch) {
    let (mut ours, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let commits = |bytes: &[u8]| bytes.windows(7).any(|seven| seven == b"COMMIT\0");
    let mut loses = false;
    loop {
        tokio::select! {
            read = client.read(&mut ours) => {
                let Ok(count @ 1..) = read else { return };
                loses |= state.borrow().0 == State::LosesCommit && commits(&ours[..count]);
                if pass(server, &ours[..count], state).await.is_err() { return }
            }
            read = server.read(&mut theirs) => {
                let Ok(count @ 1..) = read else { return };
                if loses && commits(&theirs[..count]) {
                    state.send_modify(|(now, _)| *now = State::Open);
                    return;
                }
                if pass(client, &theirs[..count], state).await.is_err() { return }
            }
        }
    }
}

async fn pass(to: &mut TcpStream, bytes: &[u8], state: &Switch) -> std::io::Result<()> {
    let (size, pause) = TRICKLE;
    let mut left = bytes;
    while state.borrow().0 == State::Slow && !left.is_empty() {
        let (now, later) = left.split_at(size.min(left.len()));
        to.write_all(now).await?;
        tokio::time::sleep(pause).await;
        left = later;
    }
    to.write_all(left).await
}
