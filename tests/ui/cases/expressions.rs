#![allow(dead_code, unused_variables)]

mod header {
    use idempotent_runtime::idempotent;

    #[idempotent(header = "webhook-id", key = body)]
    async fn both(body: String) {}

    #[idempotent(header = "webhook id")]
    async fn no_name(_body: String) {}

    #[idempotent(header = WEBHOOK_ID)]
    async fn no_text(_body: String) {}

    #[idempotent(fingerprint = "noone")]
    async fn no_word(_body: String) {}
}

mod names_no_argument {
    use axum::Json;
    use idempotent_runtime::idempotent;

    #[idempotent(key = other.id)]
    async fn create(Json(_event): Json<String>) {}

    #[idempotent(fingerprint = 7)]
    async fn refund(Json(_order): Json<String>) {}

    #[idempotent(key = uuid)]
    async fn unquoted(_body: String) {}

    #[idempotent(fingerprint = none)]
    async fn alone(_body: String) {}
}

mod no_key {
    use axum::Extension;
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct Event;

    #[idempotent(key = event)]
    async fn create(Extension(event): Extension<Event>) {}
}

mod not_serialize {
    use axum::Extension;
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct Order;

    #[idempotent(fingerprint = order)]
    async fn create(Extension(order): Extension<Order>) {}
}

mod of_the_claim {
    use idempotent_runtime::{Claim, idempotent};

    #[idempotent(scope = claim.derive_key("x"))]
    async fn create(claim: Claim, _body: String) {}

    #[idempotent(key = claim.key().unwrap_or_default())]
    async fn refund(claim: Claim, _body: String) {}
}

mod scope_names_no_argument {
    use axum::{Extension, extract::Path};
    use idempotent_runtime::idempotent;

    #[idempotent(scope = usr.id)]
    async fn create(Extension(user): Extension<User>) -> String {
        user.id.to_string()
    }

    #[idempotent(scope = "everybody")]
    async fn refund(Path(id): Path<u64>, Extension(User { id: user }): Extension<User>) -> String {
        format!("{id} {user}")
    }

    #[idempotent(scope = user.id)]
    async fn cancel() {}

    #[idempotent(scope = user.id)]
    async fn capture(_: Extension<User>) {}

    #[derive(Clone)]
    struct User {
        id: u64,
    }
}

mod not_display {
    use axum::Extension;
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct User {
        id: Option<u64>,
    }

    #[idempotent(scope = user)]
    async fn create(Extension(user): Extension<User>) {}

    #[idempotent(scope = user.id)]
    async fn refund(Extension(user): Extension<User>, _body: String) {}
}

mod unknown_field {
    use axum::Extension;
    use idempotent_runtime::idempotent;

    #[derive(Clone)]
    struct User;

    #[idempotent(scope = user.id)]
    async fn create(Extension(user): Extension<User>) {}
}

fn main() {}
