//! Stops the shop's process at a chosen point, so that the tour can kill it there. A real service does not have this.

use std::{env, future::pending};

use axum::{extract::Request, middleware::Next, response::Response};

/// The environment variable that names the chosen point.
pub(crate) const VARIABLE: &str = "KILLED";

/// What a process prints before the name of a point that it has reached.
pub(crate) const AT: &str = "at ";

/// Prints that the process has reached this point. If it is the chosen point, the process waits here until it is killed.
pub(crate) async fn at(point: &str) {
    println!("{AT}{point}");
    if env::var(VARIABLE).is_ok_and(|chosen| chosen == point) {
        pending::<()>().await;
    }
}

/// The last point: the response is stored, and the client has not received it.
pub(crate) async fn before_the_answer(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    at("before the answer").await;
    response
}
