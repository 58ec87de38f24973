//! Files, whole and in chunks.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use super::list_body;
use crate::engine::Engine;
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::files::{self, FileBody};
use crate::http::query::Parameters;
use crate::http::{on, resource};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/files",
            [on(Method::POST, files::store), on(Method::GET, list)],
        ))
        .service(resource(
            "/files/{id}",
            [
                on(Method::GET, files::show),
                on(Method::DELETE, files::delete),
            ],
        ))
        .service(resource(
            "/files/{id}/content",
            [on(Method::GET, files::content)],
        ))
        .service(resource("/uploads", [on(Method::POST, files::begin)]))
        .service(resource(
            "/uploads/{id}",
            [
                on(Method::GET, files::upload),
                on(Method::PUT, files::append),
                on(Method::DELETE, files::abandon),
            ],
        ))
        .service(resource(
            "/uploads/{id}/complete",
            [on(Method::POST, files::complete)],
        ));
}

async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::of(&request)?.list()?;
    let page = engine.files(&caller.0, query).await?;
    Ok(HttpResponse::Ok().json(list_body("files", &page, FileBody::from)))
}
