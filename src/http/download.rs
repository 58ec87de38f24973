//! A stranger's bytes on their way back: as a download, in a sandbox.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, Charset, ContentDisposition, DispositionParam,
    DispositionType, ExtendedValue, X_CONTENT_TYPE_OPTIONS,
};
use bytes::Bytes;

/// The file as it came. No browser shows or runs it as a page of ours.
pub fn download(name: String, media_type: &str, bytes: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CONTENT_DISPOSITION, attachment(name)))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(bytes)
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
