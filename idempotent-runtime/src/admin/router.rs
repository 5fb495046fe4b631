//! [`AdminRouter`]: pages and JSON for support, on an internal port.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{
    answer::{Format, html, json, protected, refusal},
    find::{self, Found, MAX_BODY, Stored},
    in_flight, page,
    query::{AdminQuery, base, format, is_known},
};
use crate::{idempotency::Idempotency, store::ForgetOutcome};

/// The largest form, in bytes. It holds a key, a scope and a route.
const MAX_FORM: usize = 16 << 10;

/// A router for support staff, to look up requests and to forget them. It has pages for people and JSON for scripts.
///
/// Mount it on a port that only operators can reach, behind your own login: it has none, and whoever reaches it can
/// make a request run again. It answers requests to an address, to `localhost`, and to the names that
/// [`host`](Self::host) adds, and no others: a page of another site may let its own name resolve to this machine.
/// Lookups, forgetting and shown responses are logged at `info` with the request's digest; a login layer that puts the
/// operator's name into a span tells who it was. The guide on
/// [security](https://docs.rs/idempotent-runtime/latest/idempotent_runtime/guide/security/index.html) has one.
///
/// ```no_run
/// use axum::{Router, http::Method};
/// use idempotent_runtime::{AdminRouter, Idempotency, MemoryStore};
///
/// # async fn serve() -> std::io::Result<()> {
/// let idempotency = Idempotency::new(MemoryStore::new());
/// let admin = AdminRouter::new(idempotency.clone())
///     .handler(Method::POST, "/payments")
///     .handler(Method::POST, "/payments/{id}/refund");
///
/// let internal = Router::new().nest("/idempotency", admin.into_router());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9090").await?;
/// axum::serve(listener, internal).await
/// # }
/// ```
///
/// | request | answer |
/// |---|---|
/// | `GET /` | a page with a form |
/// | `GET /in-flight` | what runs in this process: by handler, age and digest, the oldest 500; JSON if `Accept` asks for it |
/// | `POST /lookup` | what is known of a key: for the given route, or for each handler that knows the key |
/// | `POST /forget` | forgets one request, with `confirm` |
/// | `POST /response` | the stored response, with `confirm`, if [`show_responses`](Self::show_responses) allows it |
///
/// A script sends `application/json`, and gets its answer in it:
///
/// ```text
/// $ curl -s http://127.0.0.1:9090/idempotency/lookup --json '{"key":"4f1c…","scope":"user-7"}'
/// {"requests":[{"method":"POST","route":"/payments","digest":"d4e3…","state":"finished","status":201,"bytes":212}]}
/// $ curl -s http://127.0.0.1:9090/idempotency/forget --json '{"key":"4f1c…","scope":"user-7","confirm":true}'
/// {"outcome":"forgotten"}
/// ```
///
/// `method` and `route` (the pattern, with the prefixes of nested routers) may be left out if
/// [`handler`](Self::handler) named them. A key is read as in a header. With `"exact": true` it is taken unchanged, for
/// handlers with `key = EXPR`. Pages of other sites cannot use an operator's browser to change anything
/// here: a form must come from a page of the same origin (`Sec-Fetch-Site`, `Origin`), and CORS preflights are not
/// answered. Keys are sent in bodies and never in addresses, so they do not appear in access logs.
#[derive(Clone, Debug)]
#[must_use = "it serves nothing until `into_router` is mounted"]
pub struct AdminRouter {
    idempotency: Idempotency,
    handlers: Vec<(Method, String)>,
    hosts: Vec<String>,
    show_responses: bool,
}

impl AdminRouter {
    /// A router for the requests of this `Idempotency`: its store and its namespace.
    pub fn new(idempotency: Idempotency) -> Self {
        Self { idempotency, handlers: Vec::new(), hosts: Vec::new(), show_responses: false }
    }

    /// Adds a handler by its method and its route's pattern, with the prefixes of nested routers, so that people need
    /// not type them.
    ///
    /// A lookup without a route takes one round trip for each handler.
    pub fn handler(mut self, method: Method, route: impl Into<String>) -> Self {
        self.handlers.push((method, route.into()));
        self
    }

    /// Adds a name by which operators reach it, without a port, such as `support.internal`. Default: none, so that it is
    /// reached by its address or as `localhost`.
    ///
    /// ```
    /// # use idempotent_runtime::{AdminRouter, Idempotency, MemoryStore};
    /// # let idempotency = Idempotency::new(MemoryStore::new());
    /// let admin = AdminRouter::new(idempotency).host("support.internal");
    /// ```
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Whether the stored response may be shown, after a confirmation. Default: `false`, because it is the client's
    /// response and may contain personal data.
    pub fn show_responses(mut self, show: bool) -> Self {
        self.show_responses = show;
        self
    }

    /// The router, for any state.
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let routes = Router::new()
            .route("/", get(index))
            .route("/style.css", get(style))
            .route("/in-flight", get(show_in_flight))
            .route("/lookup", post(lookup))
            .route("/forget", post(forget))
            .route("/response", post(response))
            .layer(DefaultBodyLimit::max(MAX_FORM));
        let admin = Arc::new(self);
        routes.layer(from_fn_with_state(Arc::clone(&admin), by_its_own_name)).with_state(admin)
    }
}

type Admin = State<Arc<AdminRouter>>;

async fn by_its_own_name(State(admin): Admin, request: Request, next: Next) -> Response {
    if is_known(request.uri(), request.headers(), &admin.hosts) {
        return next.run(request).await;
    }
    let reason = "this host name is none of the router's: add it by AdminRouter::host, or use the address";
    refusal(format(request.headers()), StatusCode::FORBIDDEN, reason)
}

/// What operators do is logged, by the digest of the request that they look at.
fn log(done: &'static str, one: &Found<'_>) {
    tracing::info!(idempotency.digest = one.digest, "an operator {done}");
}

async fn index(State(admin): Admin, OriginalUri(uri): OriginalUri) -> Response {
    // The path is `/idempotency` in a nested router, and `/` otherwise.
    html(StatusCode::OK, page::index(&admin.handlers, uri.path().trim_end_matches('/')))
}

async fn style() -> Response {
    protected(([(header::CONTENT_TYPE, "text/css")], include_str!("style.css")).into_response())
}

async fn show_in_flight(State(admin): Admin, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let now = in_flight::in_flight(&admin.idempotency);
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        json(StatusCode::OK, &json!(now))
    } else {
        html(StatusCode::OK, page::in_flight(base(uri.path()), &now))
    }
}

async fn lookup(State(admin): Admin, OriginalUri(uri): OriginalUri, query: AdminQuery) -> Result<Response, Response> {
    let found = find::all(&admin.idempotency, &admin.handlers, &query).await.map_err(|error| query.failed(&error))?;
    for one in &found {
        log("looked a request up", one);
    }
    Ok(query.answered(
        || json!({ "requests": found.iter().map(Found::to_json).collect::<Vec<_>>() }),
        || page::found(admin.show_responses, base(uri.path()), &found),
    ))
}

async fn forget(State(admin): Admin, OriginalUri(uri): OriginalUri, query: AdminQuery) -> Result<Response, Response> {
    let one = confirmed(&admin, &query, |one| page::confirm_forgetting(base(uri.path()), one)).await?;
    log("asked to forget a request", &one);
    let outcome = admin.idempotency.forget(&one.name()).await.map_err(|error| query.failed(&error))?;
    let (said, sentence) = match outcome {
        ForgetOutcome::Forgotten => ("forgotten", "Forgotten. A retry runs as if it were the first."),
        ForgetOutcome::Absent => ("absent", "Nothing is known of this key."),
        ForgetOutcome::Running { .. } => ("running", "An attempt is running, so nothing was changed."),
    };
    Ok(query.answered(|| json!({ "outcome": said }), || page::told(base(uri.path()), "Forgetting", sentence)))
}

async fn response(State(admin): Admin, OriginalUri(uri): OriginalUri, query: AdminQuery) -> Result<Response, Response> {
    if !admin.show_responses {
        let reason = "this service does not show responses (AdminRouter::show_responses)";
        return Err(query.refused(StatusCode::FORBIDDEN, reason));
    }
    let one = confirmed(&admin, &query, |one| page::confirm_showing(base(uri.path()), one)).await?;
    log("asked to see a stored response", &one);
    let stored = find::response(&admin.idempotency, &one).await.map_err(|error| query.failed(&error))?;
    let stored = stored.ok_or_else(|| query.refused(StatusCode::NOT_FOUND, "there is no stored response"))?;
    let Stored { status, headers, body, truncated } = &stored;
    Ok(query.answered(
        || json!({ "status": status.as_u16(), "headers": headers, "body": body, "truncated": truncated }),
        || page::response(base(uri.path()), &stored, MAX_BODY),
    ))
}

/// The request that is meant, if that is confirmed; otherwise a page that asks. If there is more than one, it is refused, so
/// that no other request is changed by accident.
async fn confirmed<'a>(
    admin: &AdminRouter,
    query: &'a AdminQuery,
    ask: impl FnOnce(&Found<'_>) -> String,
) -> Result<Found<'a>, Response> {
    let found = find::all(&admin.idempotency, &admin.handlers, query).await.map_err(|error| query.failed(&error))?;
    let one = match <[Found<'a>; 1]>::try_from(found) {
        Ok([one]) => one,
        Err(none) if none.is_empty() => return Err(query.refused(StatusCode::NOT_FOUND, "no handler knows this key")),
        Err(_) => {
            let reason = "more than one handler knows this key: say which method and route";
            return Err(query.refused(StatusCode::CONFLICT, reason));
        }
    };
    match query.format {
        _ if query.confirm => Ok(one),
        Format::Json => Err(query.refused(StatusCode::BAD_REQUEST, "send \"confirm\": true")),
        Format::Html => Err(html(StatusCode::OK, ask(&one))),
    }
}
