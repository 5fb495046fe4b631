use axum::http::Uri;
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(_a: Uri, _b: Uri, _c: Uri, _d: Uri, _e: Uri, _f: Uri, _g: Uri, _h: Uri, _i: Uri, _j: Uri, _k: Uri, _l: Uri, _m: Uri, _n: Uri, _o: Uri, _p: Uri, _q: Uri) {}

fn main() {}
