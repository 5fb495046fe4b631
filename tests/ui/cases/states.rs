#![allow(dead_code, unused_variables)]

mod debug_handler_above_without_arguments {
    use axum::debug_handler;
    use idempotent_runtime::idempotent;

    #[debug_handler]
    #[idempotent]
    async fn create() {}
}

mod debug_handler_with_two_states {
    use axum::{debug_handler, extract::State};
    use idempotent_runtime::idempotent;

    #[idempotent]
    #[debug_handler]
    async fn create(State(_name): State<String>, State(_port): State<u16>, _body: String) {}
}

mod no_state_at_all {
    use axum::{Router, routing::post};
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(_body: String) {}

    fn routes() {
        let _: Router = Router::new().route("/", post(create));
    }
}

mod no_store {
    use axum::{debug_handler, extract::State};
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct App;

    #[idempotent]
    #[debug_handler]
    async fn create(State(_app): State<App>, _body: String) {}

    #[idempotent]
    #[axum::debug_handler(state = App)]
    async fn refund() {}
}

mod no_store_without_debug_handler {
    use axum::{Router, extract::State, routing::post};
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct App;

    #[idempotent]
    async fn create(State(_app): State<App>, _body: String) {}

    fn routes() {
        let _: Router = Router::new().route("/", post(create)).with_state(App);
    }
}

mod debug_handler_above {
    use axum::{Router, debug_handler, extract::State, routing::post};
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct App;

    #[debug_handler]
    #[idempotent]
    async fn create(State(_app): State<App>, _body: String) {}

    fn routes() {
        let _: Router = Router::new().route("/", post(create)).with_state(App);
    }
}

mod no_store_in_a_route {
    use axum::{Router, debug_handler, extract::State, routing::post};
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct App;

    #[idempotent]
    #[debug_handler]
    async fn create(State(_app): State<App>, _body: String) {}

    fn routes() {
        let _: Router = Router::new().route("/", post(create)).with_state(App);
    }
}

mod extractor_of_a_library {
    use axum::{debug_handler, extract::{FromRef, FromRequestParts}, http::request::Parts};
    use idempotent_runtime::{Idempotency, idempotent};

    #[derive(Clone)]
    struct Service;

    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
        service: Service,
    }

    struct Caller(Service);

    impl<S: Send + Sync> FromRequestParts<S> for Caller
    where
        Service: FromRef<S>,
    {
        type Rejection = ();

        async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, ()> {
            Ok(Self(Service::from_ref(state)))
        }
    }

    #[idempotent]
    #[debug_handler]
    async fn create(_caller: Caller, _body: String) {}

    #[idempotent]
    #[debug_handler(state = App)]
    async fn refund(_caller: Caller, _body: String) {}
}

fn main() {}
