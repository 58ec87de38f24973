//! API keys: made, looked up, revoked.
//!
//! A key is `rvl_ID_SECRET`. The id is no secret: keys are looked up by it. Of the secret, 32
//! random bytes, only the SHA-256 is kept; a slow hash would guard what nobody can guess anyway.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::OnceCell;
use tracing::error;

use super::ports::{Clock, Keys, SECRET_BYTES, StoredKey};
use super::stored;
use crate::domain::error::{Code, Error};
use crate::domain::id::Scope;
use crate::domain::time::Time;

const PREFIX: &str = "rvl_";
/// Random bytes of an id; it is shown as twice as many hexadecimal digits.
const ID_BYTES: usize = 6;
/// Characters of a secret: its bytes in base64url.
const SECRET_CHARS: usize = 43;
/// Characters of the name of a user, and of a key.
const MAX_USER: usize = 64;
const MAX_NAME: usize = 100;
/// The most active jobs that a key may be given.
pub const MAX_ACTIVE_JOBS: u32 = 10_000;
/// How long an answer of the store is believed: what another process revoked is refused after it.
/// Half of the second that is promised; the rest is for the request.
const BELIEVED: Duration = Duration::from_millis(500);
/// Ids whose answers are kept.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose data it is.
    pub scope: Scope,
    /// Id of the key; none on a server without keys.
    pub key: Option<String>,
    /// The key's own limit of active jobs, in the place of the server's setting.
    pub max_active_jobs: Option<u32>,
}

impl Principal {
    /// The one user of a server without keys.
    pub fn local() -> Self {
        Self {
            scope: Scope::local(),
            key: None,
            max_active_jobs: None,
        }
    }

    /// The holder of a key, be it in use or not.
    pub(super) fn of(key: &StoredKey) -> Self {
        Self {
            scope: key.user.clone(),
            key: Some(key.id.clone()),
            max_active_jobs: key.max_active_jobs,
        }
    }
}

/// An answer of the store, and when it was asked.
type Believed = (Instant, Option<StoredKey>);

/// All keys of an installation.
pub struct Keyring {
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    /// By id; also ids that nobody has, so that asking for them again costs no read.
    found: Mutex<LruCache<String, Believed>>,
    /// Whether there are keys. Once so, always so: no key is ever deleted.
    has_keys: AtomicBool,
    /// When there were none.
    had_none: Mutex<Option<Instant>>,
    secret: OnceCell<[u8; SECRET_BYTES]>,
}

impl Keyring {
    pub fn new(keys: Arc<dyn Keys>, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys,
            clock,
            found: Mutex::new(LruCache::new(KEPT)),
            has_keys: AtomicBool::new(false),
            had_none: Mutex::new(None),
            secret: OnceCell::new(),
        }
    }

    /// A new key of `user`, and its text, which is not kept: nobody can be shown it again.
    ///
    /// Errors carry `invalid_request` when one of the names is not allowed, or the limit.
    pub async fn create(
        &self,
        user: &str,
        name: &str,
        max_active_jobs: Option<u32>,
    ) -> Result<(StoredKey, String), Error> {
        let user = user_of(user)?;
        let name = name_of(name)?;
        let max_active_jobs = max_active_jobs.map(limit_of).transpose()?;
        let id = hex(random()?);
        let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?);
        let key = StoredKey {
            id,
            hash: hash(&secret),
            user,
            name,
            created_at: self.clock.now(),
            revoked_at: None,
            max_active_jobs,
        };
        if !stored(self.keys.insert_key(key.clone()).await)? {
            error!(id = key.id, "keys.id_taken");
            return Err(Error::internal());
        }
        self.found.lock().pop(&key.id);
        self.has_keys.store(true, Ordering::Release);
        let text = format!("{PREFIX}{}_{secret}", key.id);
        Ok((key, text))
    }

    /// All keys, revoked ones included, the oldest first.
    pub async fn list(&self) -> Result<Vec<StoredKey>, Error> {
        stored(self.keys.keys().await)
    }

    /// Takes a key out of use; none when there is none with this id. Servers on the same data
    /// refuse it within a second.
    pub async fn revoke(&self, id: &str) -> Result<Option<StoredKey>, Error> {
        let now = self.clock.now();
        let revoked = stored(self.keys.revoke_key(id, now).await)?;
        self.found.lock().pop(id);
        Ok(revoked)
    }

    /// How many jobs may be active for the holder of a key to start another one; none for as many
    /// as the setting says. None is answered when there is no key with this id. Servers on the
    /// same data go by it within a second.
    ///
    /// Errors carry `invalid_request` when the limit is not allowed.
    pub async fn limit(
        &self,
        id: &str,
        max_active_jobs: Option<u32>,
    ) -> Result<Option<StoredKey>, Error> {
        let max_active_jobs = max_active_jobs.map(limit_of).transpose()?;
        let limited = stored(self.keys.limit_key(id, max_active_jobs).await)?;
        self.found.lock().pop(id);
        Ok(limited)
    }

    /// Whether there is any key, revoked or not: only then is one asked for.
    pub async fn has_keys(&self) -> Result<bool, Error> {
        if self.has_keys.load(Ordering::Acquire) {
            return Ok(true);
        }
        if self.had_none.lock().is_some_and(is_fresh) {
            return Ok(false);
        }
        let asked = Instant::now();
        let has_keys = stored(self.keys.has_keys().await)?;
        if has_keys {
            self.has_keys.store(true, Ordering::Release);
        } else {
            *self.had_none.lock() = Some(asked);
        }
        Ok(has_keys)
    }

    /// Whose key this is; none when it is of nobody, or revoked.
    pub async fn authenticate(&self, text: &str) -> Result<Option<Principal>, Error> {
        let Some((id, secret)) = parts(text) else {
            return Ok(None);
        };
        let found = self.find(id).await?;
        // Compared also where there is nothing to compare with: both take the same time.
        let expected = found.as_ref().map_or([0; SECRET_BYTES], |key| key.hash);
        let fits = bool::from(hash(secret).ct_eq(&expected));
        let good = found.filter(|key| fits && key.revoked_at.is_none());
        Ok(good.as_ref().map(Principal::of))
    }

    pub(super) async fn find(&self, id: &str) -> Result<Option<StoredKey>, Error> {
        if let Some((asked, key)) = self.found.lock().get(id)
            && is_fresh(*asked)
        {
            return Ok(key.clone());
        }
        // Taken before the read: what is revoked while it runs must not be believed for longer.
        let asked = Instant::now();
        let key = stored(self.keys.key(id).await)?;
        self.found.lock().put(id.to_owned(), (asked, key.clone()));
        Ok(key)
    }

    /// What this installation signs tickets with.
    pub(super) async fn signing_secret(&self) -> Result<&[u8; SECRET_BYTES], Error> {
        let ask = async || {
            let fresh = random::<SECRET_BYTES>()?;
            stored(self.keys.secret("stream-tickets", fresh).await)
        };
        self.secret.get_or_try_init(ask).await
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }
}

fn is_fresh(asked: Instant) -> bool {
    asked.elapsed() < BELIEVED
}

/// The id of what has the form of a key. It may be shown: it is no secret.
pub fn id_in(text: &str) -> Option<&str> {
    parts(text).map(|(id, _)| id)
}

/// Id and secret of what has the form of a key.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = is_id(id);
    let is_secret = secret.len() == SECRET_CHARS && secret.bytes().all(is_base64url);
    (is_id && is_secret).then_some((id, secret))
}

/// Whether this can be the id of a key.
pub fn is_id(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 2 * ID_BYTES && text.bytes().all(is_digit)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn hash(secret: &str) -> [u8; SECRET_BYTES] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: [u8; ID_BYTES]) -> String {
    let number = bytes
        .iter()
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    format!("{number:0width$x}", width = 2 * ID_BYTES)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| {
        error!(%cause, "keys.no_randomness: the system gives no random bytes");
        Error::internal()
    })?;
    Ok(bytes)
}

fn user_of(text: &str) -> Result<Scope, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins && text.len() <= MAX_USER && text.bytes().all(is_plain) {
        return Ok(Scope::new(text));
    }
    let shown: String = text.chars().take(80).collect();
    Err(Error::new(
        Code::InvalidRequest,
        format!(
            "`{shown}` cannot be the name of a user: it takes 1 to {MAX_USER} of the characters A-Z, a-z, 0-9, `.`, `_`, `@`, `+` and `-`, the first one a letter or a digit."
        ),
    ))
}

fn name_of(text: &str) -> Result<String, Error> {
    if text.chars().count() <= MAX_NAME && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Error::new(
        Code::InvalidRequest,
        format!(
            "The name of a key takes at most {MAX_NAME} characters, line breaks and other control characters not among them."
        ),
    ))
}

fn limit_of(jobs: u32) -> Result<u32, Error> {
    if (1..=MAX_ACTIVE_JOBS).contains(&jobs) {
        return Ok(jobs);
    }
    Err(Error::new(
        Code::InvalidRequest,
        format!(
            "`{jobs}` cannot be a limit of active jobs: it takes a whole number from 1 to {MAX_ACTIVE_JOBS}. `rivulet keys revoke` takes a key out of use."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_the_form_of_a_key_is_looked_up() {
        let secret = "a-_9".repeat(10) + "abc";
        let good = format!("rvl_0123456789ab_{secret}");
        assert_eq!(parts(&good), Some(("0123456789ab", secret.as_str())));
        for bad in [
            String::new(),
            "rvl_".into(),
            good.to_uppercase(),
            good[4..].into(),
            format!("{good}x"),
            good[..good.len() - 1].into(),
            format!("rvl_0123456789AB_{secret}"),
            format!("rvl_0123456789a_{secret}"),
            format!("{good}\n"),
            good.replace("a-", "a/"),
            format!(" {good}"),
        ] {
            assert_eq!(parts(&bad), None, "{bad}");
        }
    }

    #[test]
    fn users_have_plain_names() {
        let long = "x".repeat(MAX_USER);
        for good in ["local", "a", "ops@example.com", "a.b-c_d+e", &long] {
            assert_eq!(user_of(good).unwrap().as_str(), good);
        }
        let longer = "x".repeat(MAX_USER + 1);
        for bad in ["", " a", ".a", "a b", "a\n", "a/b", "é", &longer] {
            let refused = user_of(bad).unwrap_err();
            assert_eq!(refused.code, Code::InvalidRequest, "{bad}");
            assert!(refused.detail.contains("1 to 64"), "{refused}");
        }
        assert!(name_of("CI, staging").is_ok() && name_of("a\u{1b}[31m").is_err());
    }
}
