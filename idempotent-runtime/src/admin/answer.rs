//! The answers of the admin router, in the format of the request. They are not cached, not framed, and run no script.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::json;

use super::document::{page, text};

/// A page may load nothing from elsewhere, run no script, and not be framed.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The format of the request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

pub(super) fn refusal(format: Format, status: StatusCode, reason: &str) -> Response {
    match format {
        Format::Json => json(status, &json!({ "error": reason })),
        Format::Html => html(status, page(None, "Not done", &format!("<p>{}</p>", text(reason)))),
    }
}

pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    protected((status, Json(value)).into_response())
}

pub(super) fn html(status: StatusCode, page: String) -> Response {
    protected((status, Html(page)).into_response())
}

pub(super) fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
