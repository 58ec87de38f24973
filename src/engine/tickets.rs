//! Stream tickets: what a page hands to `EventSource`, which cannot send a key.
//!
//! A ticket is `EXPIRES.KEY.MAC`: when it ends, the key it was made with (`-` without keys), and
//! an HMAC-SHA256 over both, the job and the user. It opens the events of that one job, as often
//! as its holder likes, until it expires or its key is revoked. Nothing of it is stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::keys::{Keyring, Principal, is_id};
use super::{Engine, no_job, stored};
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::domain::time::Time;

/// Stands for the key of a ticket that was made without one.
const NO_KEY: &str = "-";
/// What the signature is over begins with this: no other use of the secret can be taken for it.
const PURPOSE: &str = "rivulet stream ticket 1";

/// A ticket that was made.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Safe in a URL as it stands.
    pub text: String,
    pub expires_at: Time,
}

/// What a ticket is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Granted(Principal),
    /// It was good once: it has expired, or its key was revoked.
    Stale,
    /// It was not made here, or not for this job.
    Forged,
}

impl Engine {
    /// A ticket for the events of a job of the caller, good for `lifetime`.
    pub async fn stream_ticket(
        &self,
        caller: &Principal,
        job: JobId,
        lifetime: Duration,
    ) -> Result<Ticket, Error> {
        let found = self.inner.jobs.view(&caller.scope, job).await;
        stored(found)?.ok_or_else(|| no_job(job))?;
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.keyring().sign(caller, job, millis).await
    }
}

impl Keyring {
    async fn sign(&self, caller: &Principal, job: JobId, millis: u64) -> Result<Ticket, Error> {
        let expires_at = self.now().plus_millis(millis);
        let mac = mac(self.signing_secret().await?, caller, job, expires_at)?;
        let mac = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let key = caller.key.as_deref().unwrap_or(NO_KEY);
        Ok(Ticket {
            text: format!("{}.{key}.{mac}", expires_at.0),
            expires_at,
        })
    }

    /// Who may read the events of `job` with this ticket.
    ///
    /// One that was made without a key is stale once there are keys.
    pub async fn admit(&self, ticket: &str, job: JobId) -> Result<Admission, Error> {
        let Some((expires_at, key, signature)) = parts(ticket) else {
            return Ok(Admission::Forged);
        };
        let (holder, is_usable) = match key {
            None => (Principal::local(), !self.has_keys().await?),
            Some(id) => match self.find(id).await? {
                Some(key) => (Principal::of(&key), key.revoked_at.is_none()),
                None => return Ok(Admission::Forged),
            },
        };
        let expected = mac(self.signing_secret().await?, &holder, job, expires_at)?;
        Ok(if expected.verify_slice(&signature).is_err() {
            Admission::Forged
        } else if is_usable && self.now() < expires_at {
            Admission::Granted(holder)
        } else {
            Admission::Stale
        })
    }
}

/// When it ends, the id of its key, its signature.
fn parts(ticket: &str) -> Option<(Time, Option<&str>, Vec<u8>)> {
    let mut parts = ticket.split('.');
    let (expires, key, mac) = (parts.next()?, parts.next()?, parts.next()?);
    let key = match key {
        NO_KEY => None,
        id if is_id(id) => Some(id),
        _ => return None,
    };
    let is_whole = parts.next().is_none() && expires.bytes().all(|byte| byte.is_ascii_digit());
    let expires = expires.parse().ok().filter(|_| is_whole)?;
    Some((Time(expires), key, URL_SAFE_NO_PAD.decode(mac).ok()?))
}

fn mac(
    secret: &[u8],
    caller: &Principal,
    job: JobId,
    expires_at: Time,
) -> Result<Hmac<Sha256>, Error> {
    // The one part of free form stands last, so that no two sets of parts give the same text.
    let key = caller.key.as_deref().unwrap_or(NO_KEY);
    let scope = caller.scope.as_str();
    let signed = format!("{PURPOSE}\n{job}\n{}\n{key}\n{scope}", expires_at.0);
    // No error can be: HMAC takes a secret of any length.
    let mac = <Hmac<Sha256>>::new_from_slice(secret).map_err(|_| Error::internal())?;
    Ok(mac.chain_update(signed))
}
