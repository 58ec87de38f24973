//! Documents as this dialect sends them, `{filename, url}` with a `data:` URL, or in its older
//! form `{content, mime_type}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::domain::error::Error;
use crate::http::body;
use crate::http::members::wrong;

/// A document that came with a request.
pub struct Given {
    pub name: String,
    pub bytes: Bytes,
}

/// Takes the content out of a document that stands at `pointer`; of its URL only what comes before
/// the content is left.
pub fn take(pointer: &str, document: &mut Value) -> Result<Given, Error> {
    let Value::Object(members) = document else {
        let message = "Expected a document, `{\"filename\": \"invoice.pdf\", \"url\": \"data:application/pdf;base64,...\"}`.";
        return Err(wrong(pointer, message));
    };
    let name = match members.get("filename") {
        None | Some(Value::Null) => "document".to_owned(),
        Some(Value::String(name)) => name.clone(),
        Some(_) => return Err(wrong(&format!("{pointer}/filename"), "Expected text.")),
    };
    let at = format!("{pointer}/url");
    if let Some(Value::String(content)) = members.shift_remove("content")
        && !members.contains_key("url")
    {
        let bytes = body::base64(&format!("{pointer}/content"), &content)?;
        let media_type = members.get("mime_type").and_then(Value::as_str);
        let media_type = media_type.unwrap_or("application/octet-stream");
        members.insert("url".into(), json!(format!("data:{media_type};base64,")));
        return Ok(Given { name, bytes });
    }
    let url = members.get("url").and_then(Value::as_str);
    let parts = url.and_then(|url| url.strip_prefix("data:")?.split_once(','));
    let Some((head, content)) = parts.filter(|(head, _)| head.ends_with(";base64")) else {
        let message = "Expected `data:MEDIA-TYPE;base64,CONTENT`. Documents are not fetched from other addresses.";
        return Err(wrong(&at, message));
    };
    let bytes = body::base64(&at, content)?;
    let url = json!(format!("data:{head},"));
    members.insert("url".into(), url);
    Ok(Given { name, bytes })
}

/// Puts the content back.
pub fn restore(document: &mut Value, bytes: &[u8]) {
    if let Some(Value::String(url)) = document.get_mut("url") {
        STANDARD.encode_string(bytes, url);
    }
}

/// Takes away what is left of the URL of a document whose content is not shown.
pub fn shorten(document: &mut Value) {
    if let Value::Object(members) = document {
        members.shift_remove("url");
    }
}
