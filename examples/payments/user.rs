//! Finds out who is calling. Here the bearer token is the user's name. A real service would check a signature.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};

pub(crate) struct User {
    pub(crate) name: String,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match header.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(name) if !name.is_empty() => Ok(Self { name: name.to_owned() }),
            _ => Err((StatusCode::UNAUTHORIZED, "say who you are: -H 'Authorization: Bearer alice'\n")),
        }
    }
}
