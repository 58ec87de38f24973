//! Webhooks on the wire: who may be dialled, and one try at a delivery.

mod address;

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::redirect::Policy;
use tracing::error;

use crate::domain::error::{Code, Error};
use crate::engine::ports::{Message, Sender, Sent};

use address::OpenInternet;
pub use address::{Forbidden, Lookup, PORTS, Reach, checked, is_public};

/// How long a receiver gets to take the connection.
const CONNECT: Duration = Duration::from_secs(5);
/// And to answer, all in all.
const ANSWER: Duration = Duration::from_secs(15);

/// Sends webhooks over HTTP. Redirects are not followed, proxies not used, and what a receiver
/// answers is not read beyond its status.
pub struct HttpSender {
    reach: Reach,
    lookup: Lookup,
    /// Made when it is first needed: a machine without certificates can do everything else.
    client: OnceLock<Client>,
}

impl HttpSender {
    pub fn new(reach: Reach) -> Self {
        Self::looking_up(reach, address::of_system())
    }

    /// With another way to look names up.
    pub fn looking_up(reach: Reach, lookup: Lookup) -> Self {
        Self {
            reach,
            lookup,
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<&Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let resolver = OpenInternet {
            reach: self.reach,
            lookup: Arc::clone(&self.lookup),
        };
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A name is looked up, and checked, for each try.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("Rivulet/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn post(&self, message: Message) -> Sent {
        let url = match checked(&message.url, self.reach) {
            Ok(url) => url,
            Err(forbidden) => return Sent::Forbidden(forbidden.to_string()),
        };
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => {
                error!(%error, "webhook.no_client: the certificates of this system cannot be used");
                return Sent::Unreached("the server has no certificates to trust".into());
            }
        };
        let request = client
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
    fn check(&self, url: &str) -> Result<String, Error> {
        match checked(url, self.reach) {
            Ok(url) => Ok(url.into()),
            Err(forbidden) => Err(Error::new(
                Code::CallbackUrlForbidden,
                format!("{forbidden}."),
            )),
        }
    }

    fn send(&self, message: Message) -> BoxFuture<'_, Sent> {
        self.post(message).boxed()
    }
}
