//! The web console and the readable API reference: embedded files, nothing fetched from elsewhere.

use actix_web::http::Method;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, web};

use super::error::Problem;
use super::{on, resource};
use crate::domain::error::{Code, Error};

/// Scripts and styles of this server only: whatever a document puts on the page stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $media_type:expr;)*) => {
        &[$(($name, $media_type, include_str!(concat!("console/", $name))),)*]
    };
}

/// Name, media type, content.
const FILES: &[(&str, &str, &str)] = files! {
    "console.css" "text/css; charset=utf-8";
    "console.js" SCRIPT;
    "docs.js" SCRIPT;
    "dom.js" SCRIPT;
    "job.js" SCRIPT;
    "key.js" SCRIPT;
    "values.js" SCRIPT;
    "icon.svg" "image/svg+xml";
};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/", [on(Method::GET, root)]))
        .service(resource("/docs", [on(Method::GET, docs)]))
        .service(resource("/console/", [on(Method::GET, page)]))
        .service(resource("/console/jobs/{id}", [on(Method::GET, page)]))
        .service(resource("/console/{file}", [on(Method::GET, file)]));
}

async fn root() -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, "/console/"))
        .finish()
}

async fn page() -> HttpResponse {
    send(HTML, include_str!("console/index.html"))
}

async fn docs() -> HttpResponse {
    send(HTML, include_str!("console/docs.html"))
}

async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = FILES.iter().find(|(known, _, _)| *known == name.as_str());
    found
        .map(|(_, media_type, content)| send(media_type, content))
        .ok_or_else(|| {
            Error::new(
                Code::NotFound,
                "There is no such file. The console is at /console/.",
            )
            .into()
        })
}

fn send(media_type: &str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(content)
}
