//! The answers of the admin router, in the format of the request. They are not cached, not framed, and run no script.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::json;

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

/// Escapes a value for text, and for attributes in double quotes.
pub(super) fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page. `base` is where the router is mounted; with it, the page has the style and a link back to the form. A refused
/// request may come from another site, so its page has neither.
pub(super) fn page(base: Option<&str>, title: &str, main: &str) -> String {
    let (style, back) = base.map_or_else(Default::default, |base| {
        let base = text(base);
        // A nested router is not reached by a path that ends in a slash.
        let home = if base.is_empty() { "/" } else { &base };
        let style = format!("<link rel=\"stylesheet\" href=\"{base}/style.css\">");
        (style, format!("<p><a href=\"{home}\">Look up another key</a></p>"))
    });
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title>{style}</head><body><main><h1>{title}</h1>{main}{back}</main>\
         </body></html>"
    )
}
