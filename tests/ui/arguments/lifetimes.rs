use std::borrow::Cow;

use axum::{Json, extract::State};
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(Json(_body): Json<Cow<'_, str>>) {}

#[idempotent]
async fn refund(State(_app): State<&str>) {}

fn main() {}
