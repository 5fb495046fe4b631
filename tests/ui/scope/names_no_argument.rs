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

fn main() {}
