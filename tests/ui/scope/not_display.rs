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

fn main() {}
