use axum::Extension;
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct Event;

#[idempotent(key = event)]
async fn create(Extension(event): Extension<Event>) {}

fn main() {}
