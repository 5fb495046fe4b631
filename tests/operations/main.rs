//! What operators see and do: metrics, spans, alerts, the run book, the admin router, dumps of a store.

mod admin;
mod alerting;
mod digests;
mod first_trace;
mod lookups;
mod observing;
mod run_book;
mod sealed_dumps;
