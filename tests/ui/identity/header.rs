use idempotent_runtime::idempotent;

#[idempotent(header = "webhook-id", key = body)]
async fn both(body: String) {}

#[idempotent(header = "webhook id")]
async fn no_name(_body: String) {}

#[idempotent(header = WEBHOOK_ID)]
async fn no_text(_body: String) {}

#[idempotent(fingerprint = "noone")]
async fn no_word(_body: String) {}

fn main() {}
