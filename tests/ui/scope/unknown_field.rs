use axum::Extension;
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct User;

#[idempotent(scope = user.id)]
async fn create(Extension(user): Extension<User>) {}

fn main() {}
