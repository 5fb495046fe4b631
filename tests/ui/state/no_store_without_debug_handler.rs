use axum::{Router, extract::State, routing::post};
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct App;

#[idempotent]
async fn create(State(_app): State<App>, _body: String) {}

fn main() {
    let _: Router = Router::new().route("/", post(create)).with_state(App);
}
