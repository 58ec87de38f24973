//! Webhooks: what is signed, how, and when a delivery is tried again.
//!
//! After the Standard Webhooks specification, <https://www.standardwebhooks.com>: three headers
//! (`webhook-id`, `webhook-timestamp`, `webhook-signature`), and HMAC-SHA256 over
//! `ID.TIMESTAMP.BODY`, one signature for each secret that is good, so that secrets can be changed
//! without a gap.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::event::Links;
use super::id::{Scope, WebhookId};
use super::job::JobView;
use super::status::Status;
use super::time::Time;

/// What a secret begins with when it is written.
pub const SECRET_PREFIX: &str = "whsec_";
/// The sizes that a secret may have, bytes.
pub const SECRET_SIZES: std::ops::RangeInclusive<usize> = 24..=64;
/// How long after a failure a delivery is tried again: the pause before the second try, the third
/// and so on. Three days and some hours in all.
pub const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// The part of a pause that it may be shorter or longer by, so that a receiver which comes back is
/// not met by all at once.
pub const JITTER: f64 = 0.2;

/// Bytes of a secret that a client chose for one job.
pub const MAX_CHOSEN: usize = 256;

/// What receivers check signatures with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The text is no secret of a webhook; it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is `whsec_` and the Base64 of 24 to 64 bytes")]
pub struct BadSecret;

impl Secret {
    /// `bytes`: from a source of secrets.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BadSecret> {
        let fits = SECRET_SIZES.contains(&bytes.len());
        fits.then_some(Self(bytes)).ok_or(BadSecret)
    }

    /// Reads what [`Self::reveal`] writes.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(BadSecret)?;
        Self::new(STANDARD.decode(encoded).map_err(|_| BadSecret)?)
    }

    /// A secret that a client chose for one job: one in writing, or any text of 1 to
    /// [`MAX_CHOSEN`] bytes, whose bytes it then is.
    pub fn chosen(text: &str) -> Result<Self, BadSecret> {
        if text.starts_with(SECRET_PREFIX) {
            return Self::parse(text);
        }
        let fits = (1..=MAX_CHOSEN).contains(&text.len());
        fits.then(|| Self(text.as_bytes().to_vec()))
            .ok_or(BadSecret)
    }

    /// The secret in writing: for its owner only.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn signature(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        let code = mac.finalize().into_bytes();
        Some(format!("v1,{}", STANDARD.encode(code)))
    }
}

/// For the store only.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, divided by spaces.
///
/// `seconds`: Unix time, the value of `webhook-timestamp`.
pub fn signatures(secrets: &[Secret], id: &str, seconds: i64, body: &[u8]) -> String {
    let each = secrets
        .iter()
        .filter_map(|secret| secret.signature(id, seconds, body));
    each.collect::<Vec<_>>().join(" ")
}

/// The pause after so many failed tries, at least one; none when it is given up.
///
/// `chance`: 0 to 1, evenly spread.
pub fn pause(failed: u32, chance: f64) -> Option<Duration> {
    let pause = PAUSES.get(failed.checked_sub(1)? as usize)?;
    Some(pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0)))
}

/// What a receiver's answer means for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// To be tried again.
    Failed,
    /// The receiver wants no more of them: 410.
    Gone,
}

impl Verdict {
    /// Of an HTTP status. A redirect is a failure: it is never followed.
    pub fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            _ => Self::Failed,
        }
    }
}

/// A place between 0 and 1 for a try, the same for the same try: tries of different deliveries
/// are spread by it, and nothing needs to be drawn.
pub fn chance(id: Uuid, attempts: u32) -> f64 {
    let hash = Sha256::new()
        .chain_update(id.as_bytes())
        .chain_update(attempts.to_be_bytes())
        .finalize();
    let first = hash
        .iter()
        .take(4)
        .fold(0, |all, byte| all << 8 | u32::from(*byte));
    f64::from(first) / f64::from(u32::MAX)
}

/// What a delivery tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Completed,
    Failed,
    Cancelled,
}

impl Topic {
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    /// The `type` of a body.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "job.completed",
            Self::Failed => "job.failed",
            Self::Cancelled => "job.cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// What there is to tell of a job that has come to this.
    pub fn of(status: Status) -> Option<Self> {
        match status {
            Status::Completed => Some(Self::Completed),
            Status::Failed => Some(Self::Failed),
            Status::Cancelled => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// To be sent, for the first time or again.
    Pending,
    Delivered,
    /// Given up after the last try, or forbidden.
    Failed,
    /// Its endpoint was disabled or deleted before it was delivered.
    Disabled,
}

impl DeliveryState {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Disabled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// An endpoint that is enabled, as the end of a job sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: WebhookId,
    pub url: String,
    pub topics: Vec<Topic>,
}

/// What is put into the outbox: one message to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The value of `webhook-id`. The same for the same end of a job and the same receiver.
    pub id: Uuid,
    /// None for the callback URL of the job.
    pub webhook: Option<WebhookId>,
    /// Names the receiver: what it is slow with holds up no other.
    pub receiver: String,
    pub url: String,
    pub topic: Topic,
    /// JSON. Names the job and how it ended; nothing that was extracted.
    pub body: String,
}

/// Everything that is to be told of a job that has just ended, to its callback URL and to the
/// endpoints that want to hear of it.
pub fn notices(scope: &Scope, view: &JobView, endpoints: &[Endpoint]) -> Vec<Notice> {
    let Some(topic) = Topic::of(view.status) else {
        return Vec::new();
    };
    let body = body(view, topic);
    let notice = |webhook: Option<WebhookId>, receiver: String, url: &str| Notice {
        id: id_of(view, &receiver),
        webhook,
        receiver,
        url: url.to_owned(),
        topic,
        body: body.clone(),
    };
    let callback = view.spec.callback_url.as_deref();
    let callback = callback.map(|url| notice(None, callback_receiver(scope, url), url));
    let wanted = endpoints.iter().filter(|one| one.topics.contains(&topic));
    let wanted = wanted.map(|one| notice(Some(one.id), one.id.to_string(), &one.url));
    callback.into_iter().chain(wanted).collect()
}

/// What is told of a job that has ended because somebody asks for it now, to this URL; none of a job
/// that has not come to an end that is told.
pub fn notice_to(scope: &Scope, view: &JobView, url: &str, id: Uuid) -> Option<Notice> {
    let topic = Topic::of(view.status)?;
    Some(Notice {
        id,
        webhook: None,
        receiver: callback_receiver(scope, url),
        url: url.to_owned(),
        topic,
        body: body(view, topic),
    })
}

/// The callbacks of a user to one server share a receiver, whatever their paths.
fn callback_receiver(scope: &Scope, url: &str) -> String {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let server = place.split(['/', '?', '#']).next().unwrap_or(place);
    format!("{server} {}", scope.as_str())
}

/// Version 7: in the order in which jobs ended. What follows the time is a hash and not drawn, so
/// that the same end gives the same id however often it is worked out.
fn id_of(view: &JobView, receiver: &str) -> Uuid {
    let hash = Sha256::new()
        .chain_update(view.id.0.as_bytes())
        .chain_update(view.sequence.to_be_bytes())
        .chain_update(receiver.as_bytes())
        .finalize();
    let mut rest = [0; 10];
    for (byte, hashed) in rest.iter_mut().zip(hash) {
        *byte = hashed;
    }
    let millis = u64::try_from(ended(view).0).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

fn ended(view: &JobView) -> Time {
    view.ended_at.unwrap_or(view.updated_at)
}

fn body(view: &JobView, topic: Topic) -> String {
    let links = Links::of(view.id);
    let error = view.error.as_ref();
    let error = error.filter(|_| view.status == Status::Failed);
    json!({
        "type": topic.name(),
        "timestamp": ended(view),
        "data": {
            "job_id": view.id,
            "run": view.run,
            "status": view.status,
            "partial": view.is_partial(),
            "document_id": view.spec.document_id,
            "schema_id": view.spec.schema_id,
            "total_subtrees": view.total_subtrees,
            "subtrees_succeeded": view.subtrees_succeeded,
            "subtrees_failed": view.subtrees_failed,
            "error_type": error.map(|(fault, _)| fault),
            "links": {
                "self": links.job,
                "results": links.results,
                "events": links.events,
            },
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let secret = Secret::parse(WRITTEN).unwrap();
        // The example of the specification's own libraries.
        assert_eq!(
            signatures(std::slice::from_ref(&secret), ID, 1_614_265_330, BODY),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let other = Secret::new(vec![7; 24]).unwrap();
        let both = signatures(&[secret, other], ID, 1_614_265_330, BODY);
        assert_eq!(both.split(' ').count(), 2);
    }

    #[test]
    fn a_secret_is_written_and_read_back_and_never_printed() {
        let secret = Secret::parse(WRITTEN).unwrap();
        assert_eq!(secret.reveal(), WRITTEN);
        assert!(!format!("{secret:?}").contains("MfKQ"));
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAAA",
            "whsec_*",
        ] {
            assert_eq!(Secret::parse(bad), Err(BadSecret), "{bad}");
        }
    }

    #[test]
    fn nine_more_tries_are_made_at_growing_pauses_give_or_take_a_fifth() {
        assert_eq!(pause(0, 0.5), None);
        assert_eq!(pause(1, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(pause(1, 1.0), Some(Duration::from_secs(6)));
        assert_eq!(pause(9, 0.5), Some(Duration::from_hours(24)));
        assert_eq!(pause(10, 0.5), None);
        assert!(PAUSES.is_sorted());
    }

    #[test]
    fn only_success_is_delivered_and_only_410_ends_it() {
        for (status, verdict) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (302, Verdict::Failed),
            (404, Verdict::Failed),
            (410, Verdict::Gone),
            (503, Verdict::Failed),
        ] {
            assert_eq!(Verdict::of(status), verdict, "{status}");
        }
    }

    #[test]
    fn tries_are_spread_over_the_whole_range_and_the_same_for_the_same_try() {
        let chances: Vec<_> = (0..1_000)
            .map(|number| chance(Uuid::from_u128(number), 1))
            .collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        let mean = chances.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_eq!(chance(Uuid::from_u128(7), 1), chances[7]);
        assert_ne!(chance(Uuid::from_u128(7), 2), chances[7]);
    }

    #[test]
    fn callbacks_to_one_server_share_a_receiver_and_those_of_two_users_do_not() {
        let (ada, eve) = (Scope::new("ada"), Scope::new("eve"));
        let of = |scope, url| callback_receiver(scope, url);
        let first = of(&ada, "https://example.com:8443/a?job=1");
        assert_eq!(first, of(&ada, "https://example.com:8443/b#x"));
        assert_ne!(first, of(&eve, "https://example.com:8443/a?job=1"));
        assert_ne!(first, of(&ada, "https://example.com/a?job=1"));
    }
}
