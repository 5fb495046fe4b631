//! Limits how many requests run at once, and how many bytes of their bodies are held in memory.

use super::{Engine, load::InFlight};
use crate::{byte_budget::ReservedBytes, http::request::Refusal};

/// A request's place among the requests in flight, and the memory reserved for its body. Dropping it returns both.
pub(crate) struct Admission {
    _in_flight: InFlight,
    body: ReservedBytes,
}

impl Admission {
    /// Admits a request with a key before any of its body is read.
    ///
    /// `announced`: the least number of bytes that its body will have.
    pub(crate) fn ask(engine: &Engine, announced: u64) -> Result<Self, Refusal> {
        let in_flight = engine.load.admit().ok_or(Refusal::TooManyInFlight)?;
        if !engine.bodies.has(announced) {
            return Err(Refusal::NoRoom);
        }
        Ok(Self { _in_flight: in_flight, body: engine.bodies.reservation() })
    }

    /// Hands over the memory reserved for the body, to the reader of the body.
    pub(crate) fn take_share(&mut self) -> ReservedBytes {
        std::mem::take(&mut self.body)
    }

    /// Takes the reserved memory back after the body was read.
    pub(crate) fn return_share(&mut self, share: ReservedBytes) {
        self.body = share;
    }
}
