//! Makes the response of the engine's answer.

use std::{sync::Arc, time::Duration};

use axum::{http::HeaderValue, response::Response};
use bytes::Bytes;

use super::response::record::{Record, RecordError};
use crate::{
    engine::{Answer, Engine, Refused, Reply},
    error_chain::chain,
    problem::{Problem, REPLAYED, texts},
    telemetry::{FirstTraceparent, RequestTelemetry, limited},
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
            Answer::Replayed(record) => match replay(&record) {
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
            Reply::Replayed(record) => replay(&record).inspect(|response| {
                self.telemetry.first(response.extensions().get());
            }),
            Reply::Committed(record) => answer(&record, |response, _| Ok(response)),
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

/// The stored response, marked as a replay, with the trace of the request that it answered.
pub(crate) fn replay(record: &Bytes) -> Result<Response, Problem> {
    answer(record, |mut response, trace| {
        response.headers_mut().try_insert(REPLAYED, HeaderValue::from_static("true")).map_err(RecordError::not_http)?;
        if let Some(first) = trace {
            response.extensions_mut().insert(first);
        }
        Ok(response)
    })
}

/// Makes an answer of a stored response, or of the problem that there is nothing to replay.
fn answer(
    record: &Bytes,
    whole: impl FnOnce(Response, Option<FirstTraceparent>) -> Result<Response, RecordError>,
) -> Result<Response, Problem> {
    let decoded = Record::decode(record).and_then(|decoded| match decoded {
        Record::Whole(response, trace) => whole(response, trace).map(Ok),
        Record::WithoutBody { location } => Ok(Err(texts::not_replayable(location))),
    });
    decoded.unwrap_or_else(|error| {
        limited!(RECORD_UNREADABLE, error = %chain(&error));
        Err(texts::record_unreadable())
    })
}
