//! Responses: their records, which responses and headers are replayed. Pure.

pub(crate) mod copying;
pub(crate) mod encode;
mod exchange;
pub(crate) mod grpc;
pub(crate) mod late;
pub(crate) mod record;
pub(crate) mod replay;
