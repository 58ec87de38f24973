//! Who asks: every request acts within one [`Scope`].

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::error::Problem;
use crate::domain::id::Scope;

/// The caller of a request. A server without keys has one user.
pub struct Caller(pub Scope);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(Scope::local())))
    }
}
