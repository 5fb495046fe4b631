//! Makes the response of the engine's answer.

use std::{sync::Arc, time::Duration};

use axum::response::Response;

use super::response::record;
use crate::{
    engine::{Answer, Engine, Refused, Reply},
    problem::{Problem, REPLAYED, texts},
    telemetry::{FirstTraceparent, RequestTelemetry},
};

/// Makes the response of an answer.
pub(super) struct Answering {
    pub(super) engine: Arc<Engine>,
    pub(super) telemetry: RequestTelemetry,
    pub(super) scoped: bool,
    /// The longest time until a running attempt counts as dead.
    pub(super) lease: Duration,
}

impl Answering {
    pub(super) fn response(&self, answer: Answer<Response>) -> Response {
        let problem = match answer {
            Answer::Ran(reply) => return self.reply(reply),
            Answer::Replayed(record) => match record::answer(&record) {
                Ok(response) => {
                    self.telemetry.replayed(response.extensions().get());
                    return response;
                }
                Err(problem) => problem,
            },
            Answer::Refused(refused) => self.problem(refused),
        };
        let kind = problem.kind();
        self.telemetry.refused(kind as usize, kind.slug(), texts::advice(kind));
        self.engine.settings.answer(problem)
    }

    /// What the handler returned, or what the journal has in its place.
    fn reply(&self, reply: Reply<Response>) -> Response {
        let found = match reply {
            Reply::Value(response) => {
                // Only an earlier attempt's response, which a commit has found, has a trace.
                self.telemetry.first(response.extensions().get());
                Ok(response)
            }
            Reply::Replayed(record) => record::answer(&record).inspect(|response| {
                self.telemetry.first(response.extensions().get());
            }),
            Reply::Committed(record) => record::answer(&record).map(|mut response| {
                response.headers_mut().remove(REPLAYED);
                response.extensions_mut().remove::<FirstTraceparent>();
                response
            }),
            Reply::Refused(refused) => Err(self.problem(refused)),
        };
        found.unwrap_or_else(|problem| self.engine.settings.answer(problem))
    }

    fn problem(&self, refused: Refused) -> Problem {
        match refused {
            Refused::Running { left } => texts::in_flight(left, self.lease),
            Refused::Died => texts::outcome_unknown(),
            Refused::OtherRequest => texts::key_reused(self.scoped),
            Refused::Unreadable => texts::record_unreadable(),
            Refused::Expired => texts::key_expired(),
            Refused::FromTheFuture => texts::key_from_the_future(),
            Refused::StoreFull => texts::store_full(),
            Refused::StoreUnavailable => texts::store_unavailable(),
            Refused::JournalUnavailable => texts::journal_unavailable(),
        }
    }
}
