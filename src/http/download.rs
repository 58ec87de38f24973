//! A stranger's bytes on their way back: as a download, in a sandbox.

use actix_web::http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, Charset, ContentDisposition, DispositionParam,
    DispositionType, ExtendedValue, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;

use crate::engine::FilePieces;

/// The same of a file that is read while it is sent; `size` bytes of it.
pub fn download_pieces(
    name: String,
    media_type: &str,
    size: u64,
    pieces: FilePieces,
) -> HttpResponse {
    head(name, media_type).no_chunking(size).streaming(pieces)
}

/// The file as it came. No browser shows or runs it as a page of ours.
pub fn download(name: String, media_type: &str, bytes: Bytes) -> HttpResponse {
    head(name, media_type).body(bytes)
}

fn head(name: String, media_type: &str) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.content_type(media_type)
        .insert_header((CONTENT_DISPOSITION, attachment(name)))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    head
}

/// The header that gives a download its name: as it is for clients of RFC 6266, and in ASCII for
/// those that know only the plain form.
fn attachment(name: String) -> ContentDisposition {
    let plain = name.chars().map(|c| if c.is_ascii() { c } else { '_' });
    let plain = DispositionParam::Filename(plain.collect());
    let exact = DispositionParam::FilenameExt(ExtendedValue {
        charset: Charset::Ext("UTF-8".into()),
        language_tag: None,
        value: name.into_bytes(),
    });
    ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![plain, exact],
    }
}
