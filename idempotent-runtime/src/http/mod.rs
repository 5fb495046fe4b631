//! What axum sees: the last extractor of a handler, the head and body of a request, responses as records, problems.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod captured;
pub(crate) mod deferred;
mod handler;
mod header_names;
pub(crate) mod protect;
pub(crate) mod request;
pub(crate) mod response;
