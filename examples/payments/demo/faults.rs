//! Makes a fault around a handler, if the request asks for it with the header `Demo-Fault`.

use std::{panic, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    runtime,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use super::Charged;

/// An attempt is killed after its charge and before its answer, or when it has had so much time for the charge.
const KILLED_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Faults {
    /// The same routes with another engine, as another process would have them.
    another_process: Arc<dyn Fn() -> Router + Send + Sync>,
    charged: Charged,
}

impl Faults {
    pub(super) fn new(charged: Charged, another_process: impl Fn() -> Router + Send + Sync + 'static) -> Self {
        Self { another_process: Arc::new(another_process), charged }
    }
}

pub(super) async fn inject(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    match request.headers().get("demo-fault").map(HeaderValue::as_bytes) {
        None => next.run(request).await,
        Some(b"lose-answer") => {
            next.run(request).await;
            hang_up()
        }
        Some(b"kill") => match kill_in_mid_handler(&faults, request).await {
            Ok(()) => hang_up(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Some(_) => (StatusCode::BAD_REQUEST, "Demo-Fault is lose-answer or kill").into_response(),
    }
}

/// Runs the request in a separate Tokio runtime and stops that runtime. Then nothing of the request runs any more: not the
/// handler, not its heartbeats, and not the code that would clean up.
async fn kill_in_mid_handler(faults: &Faults, mut request: Request) -> std::io::Result<()> {
    // Without this, axum would treat the routes as nested in this router. The route would be another one, and so would the
    // key's name.
    request.extensions_mut().remove::<MatchedPath>();
    let process = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bank = faults.charged.by(request.uri().path()).clone();
    let before = bank.count();
    process.spawn((faults.another_process)().oneshot(request));
    let charged = async {
        while bank.count() == before {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(KILLED_AFTER, charged).await;
    process.shutdown_background();
    Ok(())
}

/// Ends the task that serves this connection, which closes the connection. The client gets no answer.
fn hang_up() -> ! {
    panic::resume_unwind(Box::new("the demo hangs up"))
}
