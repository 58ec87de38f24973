//! Webhooks on the wire: who may be dialled, and one try at a delivery.

mod address;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::redirect::Policy;

use crate::domain::error::{Code, Error};
use crate::engine::ports::{Message, Sender, Sent};

pub use address::{Forbidden, PORTS, Reach, checked, is_public};
use address::OpenInternet;

/// How long a receiver gets to take the connection.
const CONNECT: Duration = Duration::from_secs(5);
/// And to answer, all in all.
const ANSWER: Duration = Duration::from_secs(15);

/// Sends webhooks over HTTP. Redirects are not followed, proxies not used, and what a receiver
/// answers is not read beyond its status.
pub struct HttpSender {
    client: Client,
    reach: Reach,
}

impl HttpSender {
    /// Errors: the system's certificates cannot be used.
    pub fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(OpenInternet { reach }))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A name is looked up, and checked, for each try.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("Rivulet/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reach })
    }

    async fn post(&self, message: Message) -> Sent {
        let url = match checked(&message.url, self.reach) {
            Ok(url) => url,
            Err(forbidden) => return Sent::Forbidden(forbidden.to_string()),
        };
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.seconds)
            .header("webhook-signature", &message.signatures)
            .body(message.body);
        match request.send().await {
            Ok(answer) => Sent::Answered(answer.status().as_u16()),
            Err(error) => failed(&error),
        }
    }
}

/// Without the URL, which may hold a secret of the receiver's.
fn failed(error: &reqwest::Error) -> Sent {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
            return Sent::Forbidden(forbidden.to_string());
        }
        cause = inner.source();
    }
    Sent::Unreached(if error.is_timeout() {
        "the receiver did not answer in time".into()
    } else if error.is_connect() {
        "the receiver could not be reached".into()
    } else {
        "the connection broke before the answer came".into()
    })
}

impl Sender for HttpSender {
    fn check(&self, url: &str) -> Result<(), Error> {
        checked(url, self.reach).map(|_| ()).map_err(|forbidden| {
            Error::new(Code::CallbackUrlForbidden, format!("{forbidden}."))
        })
    }

    fn send(&self, message: Message) -> BoxFuture<'_, Sent> {
        self.post(message).boxed()
    }
}
