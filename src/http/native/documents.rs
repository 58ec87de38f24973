//! Documents: upload, list, look at, fetch, delete.

use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{DeletedBody, list_body};
use crate::domain::document::Kind;
use crate::domain::event::BASE;
use crate::domain::id::DocumentId;
use crate::domain::time::Time;
use crate::engine::ports::StoredDocument;
use crate::engine::{Engine, Uploaded};
use crate::http::auth::Caller;
use crate::http::download::download;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{body, on, resource};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/documents/upload", [on(Method::POST, upload)]))
        .service(resource("/documents", [on(Method::GET, list)]))
        .service(resource(
            "/documents/{id}",
            [on(Method::GET, show), on(Method::DELETE, delete)],
        ))
        .service(resource(
            "/documents/{id}/content",
            [on(Method::GET, content)],
        ));
}

#[derive(Serialize)]
struct DocumentBody {
    document_id: DocumentId,
    file_name: String,
    file_size: u64,
    media_type: &'static str,
    page_count: u32,
    has_text: bool,
    warnings: Vec<Cow<'static, str>>,
    sha256: String,
    status: &'static str,
    uploaded_at: Time,
}

impl From<&StoredDocument> for DocumentBody {
    fn from(document: &StoredDocument) -> Self {
        Self {
            document_id: document.id,
            file_name: document.name.clone(),
            file_size: document.size,
            media_type: document.kind.media_type(),
            page_count: document.page_count,
            has_text: document.kind.has_text(),
            warnings: warning(document.kind).into_iter().map(Cow::from).collect(),
            sha256: document.sha256.clone(),
            status: "uploaded",
            uploaded_at: document.uploaded_at,
        }
    }
}

/// Pages that a warning names.
const MOST_NAMED: usize = 50;

/// What a document is not good for.
fn warning(kind: Kind) -> Option<&'static str> {
    if kind == Kind::Mixed {
        Some(
            "Some pages of this PDF have pictures and no text: only models with `native` or \
             `pages` among their `document_inputs` (GET /v1/extract/models) can read those, and \
             nothing they say of them can be found on the page. Run OCR on it first to change that.",
        )
    } else if kind.has_text() {
        None
    } else if kind.is_picture() {
        Some(
            "A picture has no text: only models with `pages` among their `document_inputs` (GET \
             /v1/extract/models) can read it, and nothing they say can be found on the page.",
        )
    } else {
        Some(
            "No text can be read from the pages of this PDF: only models with `native` or `pages` \
             among their `document_inputs` (GET /v1/extract/models) can read it, and nothing they \
             say can be found on the page. Run OCR on it first to change that.",
        )
    }
}

async fn upload(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let file = body::file(&request, payload, engine.max_document_bytes() as usize).await?;
    let Uploaded { document, unread } = engine.upload(&caller.0, &file.name, file.bytes).await?;
    let mut body = DocumentBody::from(&document);
    if document.kind == Kind::Mixed {
        body.warnings.push(Cow::from(named(&unread)));
    }
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("{BASE}/documents/{}", document.id)))
        .json(body))
}

/// Which pages only a model that sees can read.
fn named(pages: &[u32]) -> String {
    let shown = pages.iter().take(MOST_NAMED).map(u32::to_string);
    let numbers = shown.collect::<Vec<_>>().join(", ");
    match pages.len().saturating_sub(MOST_NAMED) {
        0 => format!("Pages without text: {numbers}."),
        more => format!("Pages without text: {numbers} and {more} more."),
    }
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.list()?;
    let page = engine.documents(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("documents", &page, DocumentBody::from)))
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let document = engine.document(&caller.0, DocumentId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(DocumentBody::from(&document)))
}

async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = DocumentId::parse(&id)?;
    engine.delete_document(&caller.0, id).await?;
    Ok(HttpResponse::Ok().json(DeletedBody {
        id: id.to_string(),
        deleted: true,
    }))
}

/// The file as it was uploaded.
async fn content(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = DocumentId::parse(&id)?;
    let (document, bytes) = engine.document_content(&caller.0, id).await?;
    Ok(download(document.name, document.kind.media_type(), bytes))
}
