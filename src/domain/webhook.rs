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
use sha2::Sha256;

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
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_*"] {
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
}
