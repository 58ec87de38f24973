//! The keys of a data folder, beside the server that may be running on it.

use std::sync::Arc;

use super::folder::{create, database};
use super::{Error, SystemClock};
use crate::engine::keys::Keyring;
use crate::settings::{Settings, Storage};
use crate::store::SqliteKeys;

/// Whether anything was ever kept in the folder.
pub fn has_data(storage: &Storage) -> bool {
    database(&storage.data).exists()
}

/// The keys in the folder, which is created where it is missing. Its owner keeps running: neither
/// the lock of the folder nor a lease is touched.
pub fn keyring(storage: &Storage) -> Result<Keyring, Error> {
    let keys = open(storage)?;
    Ok(Keyring::new(Arc::new(keys), Arc::new(SystemClock)))
}

fn open(storage: &Storage) -> Result<SqliteKeys, Error> {
    let folder = || storage.data.display().to_string();
    create(&storage.data).map_err(|cause| Error::Folder {
        folder: folder(),
        cause,
    })?;
    SqliteKeys::open(&database(&storage.data)).map_err(|cause| Error::Store {
        folder: folder(),
        cause,
    })
}

/// Without a key that can be used, whoever reaches the server may read everything in it.
pub(super) fn refuse_exposure(settings: &Settings) -> Result<(), Error> {
    let (listen, storage) = (&settings.listen, &settings.storage);
    let is_loopback = listen.bind.ip().to_canonical().is_loopback();
    if is_loopback || has_data(storage) && has_usable_key(storage)? {
        return Ok(());
    }
    Err(Error::Exposed {
        bind: listen.bind,
        origin: listen.bind_origin.clone(),
        folder: storage.data.display().to_string(),
    })
}

fn has_usable_key(storage: &Storage) -> Result<bool, Error> {
    open(storage)?
        .has_usable_key()
        .map_err(|cause| Error::Store {
            folder: storage.data.display().to_string(),
            cause,
        })
}
