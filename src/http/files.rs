//! Files and uploads in chunks, for every dialect that has them: each mounts these under its base.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};

use super::auth::Caller;
use super::body;
use super::download::download_pieces;
use super::error::Problem;
use super::members::{refuse_others, wrong};
use crate::domain::error::Error;
use crate::domain::id::FileId;
use crate::domain::time::Time;
use crate::engine::ports::{StoredFile, StoredUpload};
use crate::engine::{Engine, MAX_CHUNK, UploadDraft};

/// Bytes of a body that begins an upload.
const MAX_BEGIN: usize = 16 << 10;
/// Bytes of a body with a chunk: base64 takes four bytes for three.
const MAX_APPEND: usize = MAX_CHUNK / 3 * 4 + (64 << 10);

/// A file, also one that is still being uploaded: then `size` is what was received.
#[derive(Serialize)]
pub struct FileBody {
    file_id: FileId,
    filename: String,
    media_type: String,
    size: u64,
    /// Null until the file is whole.
    sha256: Option<String>,
    status: &'static str,
    created_at: Time,
    updated_at: Time,
    expires_at: Option<Time>,
}

impl From<&StoredFile> for FileBody {
    fn from(file: &StoredFile) -> Self {
        Self {
            file_id: file.id,
            filename: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            sha256: Some(file.sha256.clone()),
            status: "uploaded",
            created_at: file.created_at,
            updated_at: file.created_at,
            expires_at: file.expires_at,
        }
    }
}

impl From<&StoredUpload> for FileBody {
    fn from(upload: &StoredUpload) -> Self {
        Self {
            file_id: upload.id,
            filename: upload.name.clone(),
            media_type: upload.media_type.clone(),
            size: upload.received,
            sha256: None,
            status: "uploading",
            created_at: upload.created_at,
            updated_at: upload.updated_at,
            expires_at: Some(upload.expires_at),
        }
    }
}

/// What a delete answers with.
#[derive(Serialize)]
struct Deleted {
    id: FileId,
    deleted: bool,
}

pub fn deleted(id: FileId) -> HttpResponse {
    HttpResponse::Ok().json(Deleted { id, deleted: true })
}

/// Takes a whole file, part `file` of a multipart body.
pub async fn store(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limit = engine.max_document_bytes() as usize;
    let file = body::file(&request, payload, limit).await?;
    let kept = engine
        .store_file(&caller.0, &file.name, &file.media_type, file.bytes)
        .await?;
    let place = format!("{}/{}", request.path(), kept.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, place))
        .json(FileBody::from(&kept)))
}

pub async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let file = engine.file(&caller.0, FileId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(FileBody::from(&file)))
}

pub async fn content(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
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
    engine.delete_file(&caller.0, id).await?;
    Ok(deleted(id))
}

/// Begins an upload in chunks.
pub async fn begin(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::json(&request, payload, MAX_BEGIN).await?;
    let upload = engine.begin_upload(&caller.0, draft(body)?).await?;
    let place = format!("{}/{}", request.path(), upload.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, place))
        .json(FileBody::from(&upload)))
}

pub async fn upload(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let upload = engine.upload_state(&caller.0, FileId::parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(FileBody::from(&upload)))
}

/// Appends a chunk.
pub async fn append(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
    // Before the chunk is read, which is long.
    engine.open_upload(&caller.0, id).await?;
    let body = body::json(&request, payload, MAX_APPEND).await?;
    let members = members(body, &["data", "offset"])?;
    let data = members.get("data").and_then(Value::as_str);
    let data = data.ok_or_else(|| wrong("/data", "The chunk is missing: its bytes in Base64."))?;
    let bytes = body::base64("/data", data)?;
    let offset = whole(&members, "offset")?;
    let upload = engine.append_chunk(&caller.0, id, offset, bytes).await?;
    Ok(HttpResponse::Ok().json(FileBody::from(&upload)))
}

/// Makes a file of an upload.
pub async fn complete(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let file = engine
        .complete_upload(&caller.0, FileId::parse(&id)?)
        .await?;
    Ok(HttpResponse::Ok().json(FileBody::from(&file)))
}

pub async fn abandon(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = FileId::parse(&id)?;
    engine.abandon_upload(&caller.0, id).await?;
    Ok(deleted(id))
}

fn draft(body: Value) -> Result<UploadDraft, Error> {
    let members = members(body, &["filename", "media_type", "size", "sha256"])?;
    let text = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("/{name}"), "Expected text.")),
    };
    let name = text("filename")?.filter(|name| !name.is_empty());
    Ok(UploadDraft {
        name: name.ok_or_else(|| wrong("/filename", "The name of the file is missing."))?,
        media_type: text("media_type")?,
        size: whole(&members, "size")?,
        sha256: text("sha256")?,
    })
}

/// The members of an object that are not null, all of them known.
fn members(body: Value, known: &[&str]) -> Result<Map<String, Value>, Error> {
    let Value::Object(mut members) = body else {
        return Err(wrong("", "The body must be an object."));
    };
    members.retain(|_, value| !value.is_null());
    refuse_others(&members, known)?;
    Ok(members)
}

fn whole(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, Error> {
    let Some(value) = members.get(name) else {
        return Ok(None);
    };
    let number = value.as_u64();
    let expected = || wrong(&format!("/{name}"), "Expected a whole number, 0 or more.");
    number.map(Some).ok_or_else(expected)
}
