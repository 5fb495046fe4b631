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
/// too, in which `Self` and the generics of its `impl` have their meaning.
///
/// The router's state must offer an `Idempotency` by `FromRef`: a router without another state takes the `Idempotency`
/// itself, `.with_state(idempotency)`. What a state offers, an `Arc`, a `&'static` reference, a `Mutex` and an `RwLock`
/// of it offer, too. Where the state is not yours, or there is none, say `store = …` (below). A state without an
/// `Idempotency` does not compile.
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
/// Which keys are valid: `"any"` (the default), `"uuid"`, or `"uuidv7"`, whose time stamp shows that a retry comes too late: a key
/// older than the ttl is looked up, but never runs.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// #[idempotent(ttl = "48h", key = "uuidv7")]
/// async fn create() {}
/// ```
///
/// ## `key = EXPRESSION`
///
/// Where the key is not in a header: an expression over the handler's arguments, as `scope` is. Its value is `Display`, or
/// an `Option` of such; `None` and an empty text are a missing key. At most 255 bytes. The last argument is extracted before
/// the key is known, and what it reads counts towards the fingerprint.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// use axum::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Event {
///     id: String,
/// }
///
/// /// Stripe sends the id in the body, and signs every delivery anew.
/// #[idempotent(key = event.id)]
/// async fn stripe(Json(event): Json<Event>) {}
/// ```
///
/// ## `header = "webhook-id"`
///
/// The header that carries this handler's key, instead of the service's `Idempotency-Key`.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// /// A receiver of Standard Webhooks.
/// #[idempotent(header = "webhook-id")]
/// async fn receive(body: String) {}
/// ```
///
/// ## `fingerprint = EXPRESSION`, `fingerprint = "none"`
///
/// What a retry must equal, instead of the query, the body and the headers; method, route and path always count. An
/// expression over the arguments whose value is `serde::Serialize`; it is hashed as JSON, and the order of an object's
/// members does not count. Who asks counts as well, unless `scope` says it. The body is not held for it.
///
/// With `"none"` the key alone says which request it is: a provider's redelivery may differ in everything else. Callers
/// who share a key then share its response, so add a `scope` where several callers use one handler.
///
/// ```
/// # use idempotent_runtime::idempotent;
/// use axum::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
///     items: Vec<String>,
///     sent_at: String,
/// }
///
/// #[idempotent(fingerprint = (order.id, &order.items))]
/// async fn create(Json(order): Json<Order>) {}
///
/// #[idempotent(header = "X-GitHub-Delivery", fingerprint = "none")]
/// async fn github(body: String) {}
/// ```
///
/// ## `store = EXPRESSION`, `store = extension`
///
/// Where the `Idempotency` comes from, if not from the router's state: for routers whose state is not yours, and for those
/// that have none. An expression is an `Idempotency`, a reference to one, or a `LazyLock` or `Arc` with one, and sees no
/// arguments. `extension` takes it from the request: add `.layer(idempotency.layer())` to the router. A forgotten layer is
/// a 500 that says so, and an error in the log.
///
/// ```
/// # use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
/// use std::sync::LazyLock;
///
/// use axum::{Router, routing::post};
///
/// static IDEMPOTENCY: LazyLock<Idempotency> = LazyLock::new(|| Idempotency::new(MemoryStore::new()));
///
/// #[idempotent(store = IDEMPOTENCY)]
/// async fn create() {}
///
/// #[idempotent(store = extension)]
/// async fn refund() {}
///
/// fn routes(idempotency: &Idempotency) -> Router {
///     Router::new().route("/payments", post(create)).route("/refunds", post(refund)).layer(idempotency.layer())
/// }
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
/// does `utoipa::path`; lints, `cfg`, `doc`, `deprecated` and `must_use` keep their effect. A handler that names `Self`
/// has other macros above.
///
/// `axum::debug_handler` belongs **below**: it checks the function as it is written, and that the state in
/// `#[debug_handler(state = App)]` offers an `Idempotency`. Above it works too, but not for a handler without arguments.
/// Without it, a future that is not `Send` is an error where the router takes the handler, as with axum itself.
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
/// The arguments and the body stay as they are, in a closure inside a wrapper of the same name. The last argument comes
/// with the request around it, and the runtime calls the closure when the claim is made:
///
/// ```text
/// fn create_payment(
///     app: State<App>,
///     __request: Captured<Json<u64>>,
/// ) -> Protected<impl Future<Output = Response>> {
///     static __POLICY: Policy = Policy::new("create_payment").ttl(Duration::from_secs(86_400)).checked();
///     let __handler = async |State(app): State<App>, Json(amount): Json<u64>| -> (StatusCode, String) { … };
///     return __request.protect(&__POLICY, move |amount| __handler(app, amount));
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
        let errors = faults.beside(&[], item);
        // Where an expression is expected, only one is taken: a block.
        let is_expression = syn::parse2::<syn::Expr>(item.clone()).is_ok();
        return if is_expression {
            quote::quote! { { #errors } }
        } else {
            errors
        };
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
