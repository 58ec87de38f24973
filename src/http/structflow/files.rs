//! Files, where they differ: an upload has no end of its own here. It is a file from its first
//! chunk on, and is completed when it is first used.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::domain::error::Code;
use crate::domain::id::FileId;
use crate::domain::page::ListCursor;
use crate::engine::Engine;
use crate::http::auth::Caller;
use crate::http::download::download_pieces;
use crate::http::error::Problem;
use crate::http::files::{FileBody, deleted};
use crate::http::query::Parameters;

pub async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.history()?;
    let page = engine.files(&caller.0, query).await?;
    let files: Vec<_> = page.items.iter().map(FileBody::from).collect();
    let next = page.next_cursor.map(ListCursor::encode);
    Ok(HttpResponse::Ok().json(json!({ "data": files, "next_cursor": next })))
}

/// A file, or what was received of it.
pub async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
    let body = match engine.file(&caller.0, id).await {
        Ok(file) => FileBody::from(&file),
        Err(missing) => match engine.upload_state(&caller.0, id).await {
            Ok(upload) => FileBody::from(&upload),
            Err(_) => return Err(missing.into()),
        },
    };
    Ok(HttpResponse::Ok().json(body))
}

pub async fn content(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
    engine.complete_upload(&caller.0, id).await?;
    let (file, pieces) = engine.file_pieces(&caller.0, id).await?;
    Ok(download_pieces(
        file.name,
        &file.media_type,
        file.size,
        pieces,
    ))
}

pub async fn delete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
    match engine.delete_file(&caller.0, id).await {
        Err(missing) if missing.code == Code::FileNotFound => {
            engine.abandon_upload(&caller.0, id).await?;
        }
        done => done?,
    }
    Ok(deleted(id))
}
