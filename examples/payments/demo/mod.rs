//! The page at `/`: the same payment with the attribute and without it, and the faults that the page can ask for.
//!
//! A real service has nothing of this. The handlers of the payment service are in `../handlers.rs`.

mod bank;
mod faults;
mod handlers;

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{from_fn_with_state, map_response},
    response::{Html, Response},
    routing::{get, post},
};
use idempotent_runtime::Idempotency;

use serde::Serialize;

use bank::Bank;
use faults::Faults;

/// The state of the two payment handlers.
#[derive(Clone, FromRef)]
struct Demo {
    idempotency: Idempotency,
    bank: Bank,
}

/// The charges of each handler.
#[derive(Clone, Default, Serialize)]
struct Charged {
    protected: Bank,
    unprotected: Bank,
}

impl Charged {
    /// The bank of the handler at this path.
    fn by(&self, path: &str) -> &Bank {
        if path == UNPROTECTED { &self.unprotected } else { &self.protected }
    }
}

/// The path of the handler without the attribute.
const UNPROTECTED: &str = "/demo/unprotected";

/// The page and the routes that it calls. `another` makes a second engine over the same store, as another process would
/// have it.
pub(crate) fn routes(idempotency: &Idempotency, another: impl Fn() -> Idempotency + Send + Sync + 'static) -> Router {
    let charged = Charged::default();
    let shared = charged.clone();
    let faults = Faults::new(charged.clone(), move || payments(&another(), &shared));
    payments(idempotency, &charged)
        .layer(from_fn_with_state(faults, faults::inject))
        .route("/", get(page))
        .route("/demo/ledger", get(show).delete(clear))
        .with_state(charged)
        // If a connection that was used before closes without an answer, a browser repeats the request by itself, and the
        // page cannot show it. So no connection is used twice.
        .layer(map_response(close))
}

fn payments<S: Clone + Send + Sync + 'static>(idempotency: &Idempotency, charged: &Charged) -> Router<S> {
    let with = |bank: &Bank| Demo { idempotency: idempotency.clone(), bank: bank.clone() };
    let protected = Router::new().route("/demo/payments", post(handlers::pay)).with_state(with(&charged.protected));
    let unprotected = post(handlers::pay_unprotected).with_state(with(&charged.unprotected));
    protected.route(UNPROTECTED, unprotected)
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn show(State(charged): State<Charged>) -> Json<Charged> {
    Json(charged)
}

async fn clear(State(charged): State<Charged>) -> StatusCode {
    charged.protected.clear();
    charged.unprotected.clear();
    StatusCode::NO_CONTENT
}

async fn close(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
