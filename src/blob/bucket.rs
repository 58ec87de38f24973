//! Files that several servers share: in a bucket of S3, Google Cloud Storage or Azure, or in a
//! folder that all of them have mounted.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreExt as _, RetryConfig};

use super::{Files, Local};
use crate::engine::ports::StoreError;

/// What a start writes, so that a bucket that is missing or may not be written to is found then.
const CHECK: &str = "rivulet.txt";
const CHECKED: &[u8] = b"Documents of Rivulet, a streaming structured-extraction server.\n";
/// How long a host gets to take a connection, and a request to be answered.
const CONNECT: &str = "2s";
const REQUEST: &str = "60s";
/// A request that failed for a passing reason is made again this often, and not after that long.
const RETRIES: usize = 2;
const RETRY_FOR: Duration = Duration::from_secs(10);

/// What addresses of buckets begin with.
pub const SCHEMES: [&str; 4] = ["s3://", "gs://", "az://", "file:///"];

/// Opens `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `file:///FOLDER`;
/// credentials and endpoints are those of the environment. Blocks.
///
/// Errors: it cannot be written to.
pub fn open(url: &str) -> Result<Files, StoreError> {
    let named = |cause: StoreError| StoreError::Failed(format!("`{url}`: {}", cause.into_cause()));
    let files = match url.strip_prefix("file://") {
        Some(folder) => Local::shared(folder.as_ref()).map_err(named)?,
        None => Files::of(bucket(url).map_err(StoreError::from).map_err(named)?),
    };
    check(&files).map_err(named)?;
    Ok(files)
}

fn bucket(url: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_FOR,
        ..RetryConfig::default()
    };
    let (connect, request) = (ClientConfigKey::ConnectTimeout, ClientConfigKey::Timeout);
    let store: Arc<dyn ObjectStore> = match url.split("://").next() {
        Some("gs") => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(GoogleConfigKey::Client(connect), CONNECT)
                .with_config(GoogleConfigKey::Client(request), REQUEST)
                .build()?,
        ),
        Some("az") => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(AzureConfigKey::Client(connect), CONNECT)
                .with_config(AzureConfigKey::Client(request), REQUEST)
                .build()?,
        ),
        _ => Arc::new(
            AmazonS3Builder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(AmazonS3ConfigKey::Client(connect), CONNECT)
                .with_config(AmazonS3ConfigKey::Client(request), REQUEST)
                .build()?,
        ),
    };
    Ok(match prefix(url) {
        "" => store,
        prefix => Arc::new(PrefixStore::new(store, Path::parse(prefix)?)),
    })
}

/// What follows the bucket's name.
fn prefix(url: &str) -> &str {
    let place = url.split_once("://").map_or("", |(_, place)| place);
    let prefix = place.split_once('/').map_or("", |(_, prefix)| prefix);
    prefix.trim_matches('/')
}

/// On a runtime of its own: the caller may be on one that must not block itself.
fn check(files: &Files) -> Result<(), StoreError> {
    let failed = |cause: std::io::Error| StoreError::Failed(cause.to_string());
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().map_err(failed)?;
            let key = CHECK.into();
            runtime.block_on(files.store.put(&key, CHECKED.into()))?;
            Ok(())
        });
        let broken = || StoreError::Failed("the check of the bucket broke".into());
        work.join().unwrap_or_else(|_| Err(broken()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_what_follows_the_bucket() {
        for (url, expected) in [
            ("s3://bucket", ""),
            ("s3://bucket/", ""),
            ("gs://bucket/a/b/", "a/b"),
            ("az://container/a", "a"),
        ] {
            assert_eq!(prefix(url), expected, "{url}");
        }
    }
}
