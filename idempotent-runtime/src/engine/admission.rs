//! How many requests, and how many bytes of their bodies, a service takes on at once.

use super::{Engine, load::InFlight};
use crate::request::{Refusal, room::Held};

/// A request's place among those in flight, and its share of the room for bodies. Dropping it gives both back.
pub(crate) struct Admission {
    _in_flight: InFlight,
    body: Held,
}

impl Admission {
    /// Lets a request with a key in, before anything of its body is read.
    ///
    /// `announced`: how long its body will be at least.
    pub(crate) fn ask(engine: &Engine, announced: u64) -> Result<Self, Refusal> {
        let in_flight = engine.load.admit().ok_or(Refusal::TooManyInFlight)?;
        if !engine.room.has(announced) {
            return Err(Refusal::NoRoom);
        }
        Ok(Self { _in_flight: in_flight, body: engine.room.enter() })
    }

    /// Its share of the room, for whoever reads the body.
    pub(crate) fn take_share(&mut self) -> Held {
        std::mem::take(&mut self.body)
    }

    /// Takes the share back when the body is read.
    pub(crate) fn return_share(&mut self, share: Held) {
        self.body = share;
    }
}
