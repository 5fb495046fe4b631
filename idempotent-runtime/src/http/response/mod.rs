//! Responses: their records, which responses and headers are replayed, and the problems. Pure.

pub(crate) mod copying;
pub(crate) mod encode;
mod exchange;
pub(crate) mod grpc;
pub(crate) mod late;
pub(crate) mod problem;
pub(crate) mod problem_texts;
pub mod problems;
pub(crate) mod record;
pub(crate) mod replay;
