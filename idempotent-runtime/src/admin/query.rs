//! Reads a request to the admin router, and checks that no other site has sent it.

use axum::{
    Form, Json,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Deserializer, de};

use super::answer::{Format, refusal};
use crate::http::request::key::Key;

/// A request to the admin router, and the request that it is about.
pub(super) struct AdminQuery {
    pub(super) format: Format,
    /// The key in its exact form: the client's without quotes, or the value of a handler's `key = EXPR`.
    pub(super) key: String,
    /// `None` where the handler has no `scope`.
    pub(super) scope: Option<String>,
    /// `None`: each handler that the router knows.
    pub(super) route: Option<(Method, String)>,
    /// Whether this is the confirmation, which is the second step.
    pub(super) confirm: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    key: String,
    /// Whether the key is in its exact form. Otherwise it is read as in a header.
    #[serde(default, deserialize_with = "yes")]
    exact: bool,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    route: Option<String>,
    /// Method and route in one field of the form, such as `POST /payments`.
    #[serde(default)]
    handler: Option<String>,
    #[serde(default, deserialize_with = "yes")]
    confirm: bool,
}

/// JSON has a boolean here, and a form has the text of a button.
fn yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Bool(bool),
        Text(String),
    }
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        Value::Text(_) => Err(de::Error::custom("`confirm` and `exact` are true or false")),
    }
}

impl<S: Send + Sync> FromRequest<S> for AdminQuery {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let format = format(request.headers());
        if !is_same_origin(request.headers(), format) {
            return Err(refusal(format, StatusCode::FORBIDDEN, "this request comes from another site"));
        }
        let fields = match format {
            Format::Json => Json::from_request(request, state)
                .await
                .map(|Json(fields)| fields)
                .map_err(|no| refusal(format, no.status(), &no.body_text())),
            Format::Html => Form::from_request(request, state)
                .await
                .map(|Form(fields)| fields)
                .map_err(|no| refusal(format, no.status(), &no.body_text())),
        };
        read(fields?, format).map_err(|reason| refusal(format, StatusCode::BAD_REQUEST, reason))
    }
}

pub(super) fn format(headers: &HeaderMap) -> Format {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") { Format::Json } else { Format::Html }
}

/// Whether a page of another site may have sent the request.
///
/// Browsers say where a request comes from: by `Sec-Fetch-Site`, or by `Origin` if they are old. A request without
/// either comes from an even older browser or from a script. A page of another site cannot send `application/json`
/// without a CORS preflight, which this router does not answer. So scripts must send `application/json`.
fn is_same_origin(headers: &HeaderMap, format: Format) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let authority =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        return authority.is_some() && authority == host;
    }
    format == Format::Json
}

fn read(fields: Fields, format: Format) -> Result<AdminQuery, &'static str> {
    let Fields { key, exact, scope, method, route, handler, confirm } = fields;
    // An empty field of a form counts as absent.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let key = match Key::parse(key.as_bytes()) {
        _ if key.trim().is_empty() => return Err("there is no key"),
        Ok(read) if !exact => read.as_str().to_owned(),
        // No header has this key. The value of an expression may be any text.
        _ => key,
    };
    let of_list = given(handler).map(|handler| handler.split_once(' ').map(|(m, r)| (m.to_owned(), r.to_owned())));
    let route = match (given(route), of_list) {
        (Some(route), _) => Some((given(method).unwrap_or_else(|| "POST".to_owned()), route)),
        (None, Some(Some(of_list))) => Some(of_list),
        (None, Some(None)) => return Err("`handler` is a method and a route, such as `POST /payments`"),
        (None, None) => None,
    };
    let route = match route {
        Some((method, route)) => {
            let method = Method::from_bytes(method.trim().as_bytes()).map_err(|_| "this is not an HTTP method")?;
            Some((method, route))
        }
        None => None,
    };
    Ok(AdminQuery { format, key, scope: given(scope), route, confirm })
}

/// Where the router is mounted, from the path of one of its routes: `/idempotency` for `/idempotency/lookup`.
pub(super) fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(lines: &[(&'static str, &str)], format: Format) -> bool {
        let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        is_same_origin(&lines.collect(), format)
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        assert!(from(&[("sec-fetch-site", "same-origin")], Format::Html));
        for site in ["cross-site", "same-site"] {
            assert!(!from(&[("sec-fetch-site", site)], Format::Html));
            assert!(!from(&[("sec-fetch-site", site)], Format::Json));
        }
        let host = ("host", "127.0.0.1:9090");
        assert!(from(&[host, ("origin", "http://127.0.0.1:9090")], Format::Html));
        for origin in ["http://evil.example", "http://127.0.0.1:9091", "null"] {
            assert!(!from(&[host, ("origin", origin)], Format::Html), "{origin}");
        }
        assert!(!from(&[host], Format::Html), "a browser that says nothing");
        assert!(from(&[host], Format::Json), "a script");
    }
}
