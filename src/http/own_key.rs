//! The key to a provider that a caller brings for one request.

use actix_web::HttpRequest;

use crate::domain::error::{Code, Error};
use crate::domain::own_key::{HEADER, OwnKey};
use crate::engine::Extras;

/// The key in the header, at most one. A header without a value is none.
pub fn own_key(request: &HttpRequest) -> Result<Option<OwnKey>, Error> {
    let mut given = request.headers().get_all(HEADER);
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        let message = format!("`{HEADER}` is there more than once. Send one.");
        return Err(Error::new(Code::InvalidRequest, message));
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    if text.trim().is_empty() {
        return Ok(None);
    }
    OwnKey::parse(&text).map(Some)
}

/// What a request says of its job beside the body.
pub fn extras(request: &HttpRequest) -> Result<Extras, Error> {
    Ok(Extras {
        own_key: own_key(request)?,
        ..Extras::default()
    })
}
