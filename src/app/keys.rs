//! The keys of an installation, beside the servers that may be running on it.

use std::sync::Arc;

use super::folder::{create, database};
use super::{Error, SystemClock};
use crate::engine::keys::Keyring;
use crate::settings::{Secret, Settings, Storage};
use crate::store::{SqliteKeys, postgres};

/// Where keys are kept, as it may be shown.
pub fn place(storage: &Storage) -> String {
    match &storage.store {
        Some(Secret(url)) => postgres::redacted(url),
        None => storage.data.display().to_string(),
    }
}

fn flag(storage: &Storage) -> String {
    match &storage.store {
        Some(_) => "and the same store".to_owned(),
        None => format!("--data {}", storage.data.display()),
    }
}

/// Whether anything was ever kept there. A database that several servers share is asked itself.
pub fn has_data(storage: &Storage) -> bool {
    storage.store.is_some() || database(&storage.data).exists()
}

/// The keys that are kept there; a folder is created where it is missing. Servers keep running:
/// neither the lock of the folder nor a lease is touched.
pub fn keyring(storage: &Storage) -> Result<Keyring, Error> {
    if let Some(Secret(url)) = &storage.store {
        let store = Arc::new(super::database(storage, url, None)?);
        let clock = store.clock();
        return Ok(Keyring::new(store, clock));
    }
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
        place: place(storage),
        flag: flag(storage),
    })
}

fn has_usable_key(storage: &Storage) -> Result<bool, Error> {
    if let Some(Secret(url)) = &storage.store {
        return postgres::has_usable_key(url).map_err(|cause| Error::Database { cause });
    }
    open(storage)?
        .has_usable_key()
        .map_err(|cause| Error::Store {
            folder: storage.data.display().to_string(),
            cause,
        })
}
