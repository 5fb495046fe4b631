//! `utoipa::path` without the feature `utoipa`, and above the attribute.
#![deny(warnings)]
#![allow(dead_code)]

use idempotent_runtime::idempotent;


#[idempotent]
#[utoipa::path(post, path = "/below")]
async fn below() {}

#[utoipa::path(post, path = "/above")]
#[idempotent]
async fn above() {}

#[utoipa::path(post, path = "/by-hand")]
#[idempotent]
#[allow(deprecated)]
async fn described_by_hand() {}

fn main() {}
