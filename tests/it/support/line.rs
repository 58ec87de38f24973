//! A line to a server that can be cut: connections are refused, or bytes go nowhere and nobody
//! says so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
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
}

pub struct Line {
    pub port: u16,
    state: watch::Sender<State>,
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
        let state = watch::Sender::new(State::Open);
        let seen = state.subscribe();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, upstream, seen.clone()));
            }
        });
        Self {
            port,
            state,
            accepting,
        }
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(mut client: TcpStream, upstream: SocketAddr, mut state: watch::Receiver<State>) {
    let now = *state.borrow_and_update();
    if now == State::Open {
        let mut server = TcpStream::connect(upstream).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = state.wait_for(|now| *now != State::Open) => {}
        }
        // What is on its way when a line breaks is lost, also if it comes back.
        if *state.borrow() == State::Silent {
            let _kept = server;
            let _ = state.wait_for(|now| *now != State::Silent).await;
        }
    } else if now == State::Silent {
        let _ = state.wait_for(|now| *now != State::Silent).await;
    }
    let socket = socket2::SockRef::from(&client);
    let _ = socket.set_linger(Some(Duration::ZERO));
}
