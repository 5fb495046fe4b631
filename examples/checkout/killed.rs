//! Where the process is to be killed. A real service has nothing of this.

use std::{env, future::pending};

use axum::{extract::Request, middleware::Next, response::Response};

/// Names the point.
pub(crate) const VARIABLE: &str = "KILLED";

/// Before this word a process says where it is.
pub(crate) const AT: &str = "at ";

/// Says that the process has come here. If this is the point, it waits until it is killed.
pub(crate) async fn at(point: &str) {
    println!("{AT}{point}");
    if env::var(VARIABLE).is_ok_and(|chosen| chosen == point) {
        pending::<()>().await;
    }
}

/// The last point: the response is stored, and the client has not heard of it.
pub(crate) async fn before_the_answer(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    at("before the answer").await;
    response
}
