//! Reads a request to the admin router, and checks that no other site has sent it.

use std::net::IpAddr;

use axum::{
    Form, Json,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority},
    response::Response,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::answer::{Format, html, json, refusal};
use crate::{error_chain::chain, http::request::key::Key, store::StoreError};

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
            Format::Json => match Json::from_request(request, state).await {
                Ok(Json(fields)) => Ok(fields),
                Err(no) => Err((no.status(), no.body_text())),
            },
            Format::Html => match Form::from_request(request, state).await {
                Ok(Form(fields)) => Ok(fields),
                Err(no) => Err((no.status(), no.body_text())),
            },
        };
        let fields = fields.map_err(|(status, reason)| refusal(format, status, &reason))?;
        read(fields, format).map_err(|reason| refusal(format, StatusCode::BAD_REQUEST, reason))
    }
}

impl AdminQuery {
    pub(super) fn refused(&self, status: StatusCode, reason: &str) -> Response {
        refusal(self.format, status, reason)
    }

    pub(super) fn failed(&self, error: &StoreError) -> Response {
        self.refused(StatusCode::SERVICE_UNAVAILABLE, &chain(error))
    }

    /// An answer in the format of the request.
    pub(super) fn answered(&self, value: impl FnOnce() -> Value, page: impl FnOnce() -> String) -> Response {
        match self.format {
            Format::Json => json(StatusCode::OK, &value()),
            Format::Html => html(StatusCode::OK, page()),
        }
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

/// Whether a request was sent to an address, to `localhost`, or to one of the names. A request that names no host comes
/// from no browser.
///
/// A page of another site may let its name resolve to this machine (DNS rebinding). The browser then takes the page and
/// this router for one origin, but it still sends the page's name in `Host`.
pub(super) fn is_known(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let sent_to = match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Some(authority),
            Err(_) => return false,
        },
        (None, None) => None,
    };
    sent_to.is_none_or(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || names.iter().any(|name| name.eq_ignore_ascii_case(host))
    })
}

/// Where the router is mounted, from the path of one of its routes: `/idempotency` for `/idempotency/lookup`.
pub(super) fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(base, _)| base)
}
