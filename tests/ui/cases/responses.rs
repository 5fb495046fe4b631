#![allow(dead_code, unused_variables)]

mod no_response {
    use axum::http::{Method, StatusCode};
    use idempotent_runtime::idempotent;

    struct Payment;

    #[idempotent]
    async fn create(_body: String) -> Payment {
        Payment
    }

    #[idempotent]
    async fn refund() -> Result<Payment, StatusCode> {
        Err(StatusCode::NOT_FOUND)
    }

    #[idempotent]
    async fn cancel(_method: Method, _body: String) -> (StatusCode, Payment) {
        (StatusCode::OK, Payment)
    }
}

mod event_stream {
    use std::convert::Infallible;

    use axum::response::sse::{Event, Sse};
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn events() -> Sse<Result<Event, Infallible>> {
        todo!()
    }

    #[idempotent]
    async fn fallible() -> Result<axum::response::Sse<Events>, Infallible> {
        todo!()
    }

    struct Events;
}

fn main() {}
