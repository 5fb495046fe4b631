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

fn main() {}
