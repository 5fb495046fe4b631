//! A checkout with three effects, each of which happens once. Run it with `cargo run --example checkout`.
//!
//! It starts a payment provider, a mail service and a shop. It kills the shop at each point of a checkout, starts it again,
//! and lets the client retry. You need not install anything. Read `handler.rs` first.

mod elsewhere;
mod failed;
mod handler;
mod killed;
mod mails;
mod orders;
mod provider;
mod serve;
mod service;
mod shop;
mod tour;

use std::{env, error::Error};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some(serve::SHOP) { serve::serve().await } else { tour::tour().await }
}
