#![allow(dead_code, unused_variables)]

mod body_before_last {
    use axum::http::Method;
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(axum::Json(_body): axum::Json<String>, _method: Method) {}

    #[idempotent]
    async fn refund(_body: axum::body::Bytes, axum::Json(_again): axum::Json<String>) {}
}

mod borrowed {
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(_body: &str) {}
}

mod conditional {
    use axum::http::Method;
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(#[cfg(unix)] _method: Method, _body: String) {}
}

mod lifetimes {
    use std::borrow::Cow;

    use axum::{Json, extract::State};
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(Json(_body): Json<Cow<'_, str>>) {}

    #[idempotent]
    async fn refund(State(_app): State<&str>) {}
}

mod no_extractor {
    use axum::{Json, debug_handler, extract::{FromRef, State}};
    use idempotent_runtime::{Idempotency, idempotent};

    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
    }

    struct Payment;

    #[idempotent]
    #[debug_handler]
    async fn create(State(_app): State<App>, _payment: Payment) {}

    #[idempotent]
    #[debug_handler]
    async fn refund(State(_app): State<App>, _payment: Payment, _body: Json<String>) {}
}

mod no_extractor_without_debug_handler {
    use axum::{Router, extract::{FromRef, State}, routing::post};
    use idempotent_runtime::{Idempotency, idempotent};

    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
    }

    struct Payment;

    #[idempotent]
    async fn create(State(_app): State<App>, _payment: Payment) {}

    fn routes() {
        let _: Router<App> = Router::new().route("/", post(create));
    }
}

mod too_many {
    use axum::http::Uri;
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn create(_a: Uri, _b: Uri, _c: Uri, _d: Uri, _e: Uri, _f: Uri, _g: Uri, _h: Uri, _i: Uri, _j: Uri, _k: Uri, _l: Uri, _m: Uri, _n: Uri, _o: Uri, _p: Uri, _q: Uri) {}
}

mod body_before_last_in_every_spelling {
    use axum::{Json, extract, extract::Request as Incoming, http::Method};
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn imported(Json(_body): Json<String>, _method: Method) {}

    #[idempotent]
    async fn qualified(extract::Json(_body): extract::Json<String>, _method: Method) {}

    #[idempotent]
    async fn text(_body: String, _method: Method) {}

    #[idempotent]
    async fn request(_request: extract::Request, _method: Method) {}

    struct ValidJson;

    impl<S: Send + Sync> extract::FromRequest<S> for ValidJson {
        type Rejection = ();

        async fn from_request(_: Incoming, _: &S) -> Result<Self, ()> {
            Ok(Self)
        }
    }

    #[idempotent]
    async fn of_the_user(_body: ValidJson, _method: Method) {}
}

fn main() {}
