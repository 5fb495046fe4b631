//! The `#[idempotent]` attribute. Use it through the `idempotent-runtime` crate.

mod attributes;
mod faults;
mod handler;
mod messages;
mod options;
mod render;
#[cfg(test)]
mod snapshots;
mod table;
mod time;
mod validate;
mod variables;

use proc_macro2::TokenStream;

use crate::{faults::Faults, handler::Handler, options::Options};

/// Makes an axum handler safe to retry.
///
/// A request that carries an `Idempotency-Key` runs the handler once; every retry with that key gets the first
/// response, byte for byte, and `Idempotent-Replayed: true`. Other handlers are left alone.
///
/// ```
/// use axum::{Json, Router, extract::{FromRef, State}, http::StatusCode, routing::post};
/// use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
///
/// #[derive(Clone, FromRef)]
/// struct App {
///     idempotency: Idempotency,
///     currency: &'static str,
/// }
///
/// /// Makes a payment.
/// #[idempotent(ttl = "24h")]
/// async fn create_payment(State(app): State<App>, Json(amount): Json<u64>) -> (StatusCode, String) {
///     (StatusCode::CREATED, format!("paid {amount} {}", app.currency))
/// }
///
/// let app: Router = Router::new()
///     .route("/payments", post(create_payment))
///     .with_state(App { idempotency: Idempotency::new(MemoryStore::new()), currency: "EUR" });
/// ```
///
/// # The handler
///
/// Any `async fn` that axum takes, with any extractors, generics and response; an associated function without `self`
/// too. The router's state must offer an `Idempotency` by `FromRef`: a router without another state takes the
/// `Idempotency` itself, `.with_state(idempotency)`. Without one the program does not compile.
///
/// Extractors run on every request, before any replay: authentication among them. The body of the function runs once.
/// Put checks that depend on what the handler does ("still unpaid?") into the body.
///
/// # Options
///
/// All are optional and have the form `name = value`.
///
/// ## `ttl = "24h"`
///
/// How long a finished response is replayed, counted from when it was finished. The default is 24 hours. Durations are
/// strings like `"90s"`, `"15m"` or `"1h 30m"`, or name a constant; they are checked while compiling.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// use std::time::Duration;
///
/// const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
///
/// #[idempotent(ttl = RETENTION)]
/// async fn create() {}
/// ```
///
/// ## `lease = "30s"`
///
/// How long a claim outlives the last heartbeat of the process that made it; after that a retry may take over. Not a
/// limit on the handler: heartbeats go on while it runs. The default is 30 seconds, the least are 100 milliseconds.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(lease = "10s")]
/// async fn create() {}
/// ```
///
/// ## `wait = "5s"`
///
/// How long a duplicate waits for the first request to finish, to answer with its response. Without it, a duplicate of
/// a running request is answered at once with 409 and `Retry-After`.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(ttl = "24h", wait = "5s")]
/// async fn refund() {}
/// ```
///
/// ## `required = false`
///
/// Whether a request must have a key. By default one without is answered with 400; with `false` it runs unprotected.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(required = false)]
/// async fn create() {}
/// ```
///
/// ## `scope = EXPRESSION`
///
/// Whose key it is: two callers with the same key do not meet. An expression over the handler's arguments, which it
/// sees by reference and through their own patterns; its value must be `Display`. Do not use what changes between
/// retries, such as a token that is refreshed.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// use axum::{Extension, Json};
///
/// #[derive(Clone)]
/// struct User {
///     id: u64,
/// }
///
/// #[idempotent(scope = user.id)]
/// async fn create(Extension(user): Extension<User>, Json(amount): Json<u64>) {}
///
/// #[idempotent(scope = format!("{}/{account}", user.id))]
/// async fn withdraw(Extension(user): Extension<User>, Json(account): Json<String>) {}
/// ```
///
/// ## `replay = "final"`
///
/// Which responses settle the key; after any other the key is free, and a retry runs.
///
/// - `"success"`: 2xx and 3xx.
/// - `"final"`, the default: also 4xx, but for those that may turn out otherwise on a later try: 401, 403, 408, 425, 429.
/// - `"all"`: every response, 5xx included.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(replay = "success")]
/// async fn create() {}
/// ```
///
/// ## `takeover = "rerun"`
///
/// What becomes of a key whose attempt died before it could answer. By default the next attempt runs, and a `Claim`
/// tells it so; with `"refuse"` it is answered with 409 `outcome-unknown`, for a person to look at.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(takeover = "refuse")]
/// async fn wire_transfer() {}
/// ```
///
/// ## `key = "any"`
///
/// Which keys are valid: `"any"`, `"uuid"`, or `"uuidv7"`, whose time stamp shows that a retry comes too late: a key
/// older than the ttl is looked up, but never runs.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(ttl = "48h", key = "uuidv7")]
/// async fn create() {}
/// ```
///
/// ## `crate = path::to::idempotent_runtime`
///
/// Where the runtime is, for a crate that re-exports it or knows it by another name.
///
/// ```
/// mod framework {
///     pub use idempotent_runtime as idempotency;
/// }
///
/// #[framework::idempotency::idempotent(crate = framework::idempotency)]
/// async fn create() {}
/// ```
///
/// # Other attributes
///
/// They may stand above or below. `tracing::instrument` and other macros see the function as it is written, and so
/// does `utoipa::path`; lints, `cfg`, `doc`, `deprecated` and `must_use` keep their effect.
///
/// `axum::debug_handler` belongs **below**: there it checks what the router gets, and says so when the state has no
/// store. Above it works too, but not for a handler without arguments. A handler that names no state is checked
/// with an `Idempotency` for one; say `#[debug_handler(state = App)]` where that is not enough.
///
/// ```
/// # use idempotent_runtime::{Idempotency, idempotent};
/// use axum::{debug_handler, extract::State};
///
/// #[idempotent(ttl = "24h")]
/// #[debug_handler]
/// #[tracing::instrument(skip_all)]
/// async fn create(State(idempotency): State<Idempotency>, body: String) -> String {
///     body
/// }
/// ```
///
/// # What it expands to
///
/// The function stays as it is, inside a wrapper of the same name. The last argument comes with the request around it,
/// and the runtime calls the function when the claim is made:
///
/// ```text
/// async fn create_payment(app: State<App>, request: Captured<Json<u64>>) -> Response {
///     async fn create_payment(State(app): State<App>, Json(amount): Json<u64>) -> (StatusCode, String) { … }
///     {
///         static POLICY: Policy = Policy::new("create_payment").ttl(Duration::from_secs(86_400)).checked();
///         let handler = create_payment;
///         request.protect(&POLICY, move |amount| handler(app, amount)).await
///     }
/// }
/// ```
///
/// So the wrapper takes no other arguments than the function, but it is called by a router and not by hand: keep logic
/// that a unit test calls in a plain function.
#[proc_macro_attribute]
pub fn idempotent(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(&options.into(), &item.into()).into()
}

/// Parse, validate, render.
///
/// When anything is wrong, the user's item is emitted as it came, beside all errors at once: an
/// editor then shows these errors, and not twenty more about a function that has vanished.
fn expand(options: &TokenStream, item: &TokenStream) -> TokenStream {
    let mut faults = Faults::default();
    let parsed = Options::parse(options.clone(), &mut faults);
    let Some(handler) = Handler::parse(item, &mut faults) else {
        return faults.beside(&[], item);
    };
    validate::validate(&parsed, &handler, &mut faults);
    if faults.any() {
        return faults.beside(&handler.attributes.conditions, &handler.without_the_attribute());
    }
    if handler.is_to_be_hoisted() {
        render::hoist(&handler, &parsed, options)
    } else {
        render::render(&parsed, &handler)
    }
}
