#![allow(dead_code, unused_variables)]

mod all_faults_at_once {
    use axum::Json;
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = 60, tll = "24h", replay = "sometimes", wait)]
    fn create(Json(body): Json<String>, _: &str) -> String {
        body
    }
}

mod async_trait {
    use std::pin::Pin;

    use idempotent_runtime::idempotent;

    trait Payments {
        fn create<'async_trait>(body: String) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>>;
    }

    struct Postgres;

    // What `#[async_trait]` makes of an `async fn`.
    impl Payments for Postgres {
        #[idempotent(ttl = "24h")]
        fn create<'async_trait>(body: String) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>> {
            Box::pin(async move { body })
        }
    }
}

mod attribute_twice {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "24h")]
    #[idempotent(lease = "10s")]
    async fn create() {}
}

mod in_a_trait {
    use idempotent_runtime::idempotent;

    trait Payments {
        #[idempotent(ttl = "24h")]
        async fn create(body: String) -> String;
    }
}

mod middleware {
    use axum::{extract::Request, middleware::Next, response::Response};
    use idempotent_runtime::idempotent;

    #[idempotent]
    async fn authenticate(request: Request, next: Next) -> Response {
        next.run(request).await
    }
}

mod not_a_function {
    use idempotent_runtime::idempotent;

    #[idempotent]
    struct Payment;

    #[idempotent(ttl = "24h")]
    impl Payment {}

    #[idempotent]
    pub mod payments {}

    #[idempotent]
    enum Currency {}

    #[idempotent]
    static PAYMENTS: () = ();
}

mod not_async {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "24h")]
    fn create(body: String) -> String {
        body
    }
}

mod qualified_function {
    use idempotent_runtime::idempotent;

    #[idempotent]
    const async fn create() {}

    #[idempotent]
    async unsafe fn refund() {}

    #[idempotent]
    async extern "C" fn cancel() {}
}

mod self_below_a_macro {
    use idempotent_runtime::idempotent;

    struct Payments;

    impl Payments {
        const GREETING: &str = "hello";

        #[idempotent]
        #[shout::shout]
        async fn greet() -> String {
            Self::GREETING.to_owned()
        }
    }
}

mod self_receiver {
    use idempotent_runtime::idempotent;

    struct Payments;

    impl Payments {
        #[idempotent(ttl = "24h")]
        async fn create(&self, body: String) -> String {
            body
        }
    }
}

mod the_function_stays {
    use axum::{Json, Router, extract::State, routing::post};
    use idempotent_runtime::idempotent;

    #[idempotent(tll = "24h")]
    async fn create(State(name): State<String>, Json(body): Json<String>) -> String {
        format!("{name}{body}")
    }

    fn routes() {
        let _: Router<String> = Router::new().route("/", post(create));
    }
}

mod variadic {
    use idempotent_runtime::idempotent;

    #[idempotent]
    async unsafe extern "C" fn create(_count: u32, _: ...) {}
}

fn main() {}
