//! Every word that the engine says to a client, in one place. Pure.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

use crate::{
    config::settings::Settings,
    request::Refusal,
    response::problem::{Problem, ProblemKind},
};

/// What a client should pause after a fault that passes.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn refused(refusal: &Refusal, settings: &Settings) -> Problem {
    match refusal {
        Refusal::KeyMissing { meant } => key_missing(&settings.header, meant.as_ref()),
        Refusal::OwnKeyMissing { header, meant } => key_missing(header, meant.as_ref()),
        Refusal::KeyValueMissing => key_value_missing(),
        Refusal::Key(error) => Problem::new(ProblemKind::KeyInvalid, error.to_string()),
        Refusal::TooManyInFlight => too_many_in_flight(),
        Refusal::NoRoom => no_room(),
        Refusal::BodyTooLarge => request_too_large(settings.max_request),
        Refusal::BodyBroken => request_unreadable(),
    }
}

fn key_missing(header: &HeaderName, meant: Option<&HeaderName>) -> Problem {
    let mut detail = format!(
        "Send the header `{}` with a value of your own that is new for each operation and the same for each retry of \
         it, such as a random UUID.",
        shown(header.as_str())
    );
    if let Some(meant) = meant {
        detail = format!("The header `{}` is not the one that carries the key here. {detail}", shown(meant.as_str()));
    }
    Problem::new(ProblemKind::KeyMissing, detail)
}

fn key_value_missing() -> Problem {
    let detail = "The request has no value where this operation looks for its key. Send one that is new for each operation \
                  and the same for each retry of it.";
    Problem::new(ProblemKind::KeyMissing, detail)
}

pub(crate) fn key_from_the_future() -> Problem {
    let detail = "The key's time stamp is more than 5 minutes ahead of the service's clock. Set your clock, and make \
                  the key when the operation is asked for.";
    Problem::new(ProblemKind::KeyInvalid, detail)
}

pub(crate) fn key_expired() -> Problem {
    let detail = "The key was made longer ago than responses are kept, so it cannot be told whether the request was \
                  carried out. Look at the resource; make a new key only for a new operation.";
    Problem::new(ProblemKind::KeyExpired, detail)
}

pub(crate) fn key_reused(scoped: bool) -> Problem {
    let detail = if scoped {
        "A retry has to equal the first request: path, query, body and the headers that say what the body is and when it \
         applies. If this is a retry that was changed on its way, look at the resource: the first request may have been \
         carried out. A new key is for an operation that was never asked for."
    } else {
        "A retry has to equal the first request: path, query, body, the headers that say what the body is and when it \
         applies, and the credentials. If this is a retry that was changed on its way, look at the resource: the first \
         request may have been carried out. A new key is for an operation that was never asked for. (For the service: if \
         one caller's credentials change between tries, set the attribute's `scope`.)"
    };
    Problem::new(ProblemKind::KeyReused, detail)
}

/// Soon, while the first attempt is surely alive; else when its lease is over.
pub(crate) fn in_flight(left: Duration, lease: Duration) -> Problem {
    let pause = if left > lease / 2 { PAUSE } else { left };
    let detail = "The first request with this key is still running. Send it again with the same key after the pause \
                  that Retry-After names.";
    Problem::new(ProblemKind::InFlight, detail).retry_after(pause)
}

pub(crate) fn outcome_unknown() -> Problem {
    let detail = "An earlier attempt at this request stopped without reporting a result, and what it did is unknown. It \
                  will not be run again. Look at the resource, or ask the service's operators.";
    Problem::new(ProblemKind::OutcomeUnknown, detail)
}

pub(crate) fn not_replayable(location: Option<HeaderValue>) -> Problem {
    let detail = "The request was carried out, but its response was too large or endless to be kept. It will not be \
                  run again. If there is a Location, the result is there.";
    Problem::new(ProblemKind::NotReplayable, detail).location(location)
}

fn request_too_large(limit: usize) -> Problem {
    let detail = format!(
        "The body is larger than the service accepts here. (For the service: axum's `DefaultBodyLimit` and \
         `max_request`, now {limit} bytes, bound what can be protected.)"
    );
    Problem::new(ProblemKind::RequestTooLarge, detail)
}

fn request_unreadable() -> Problem {
    let detail =
        "The body broke off before its end. Nothing was carried out; send the request again, with the same key.";
    Problem::new(ProblemKind::RequestUnreadable, detail)
}

pub(crate) fn store_unavailable() -> Problem {
    let detail = "It cannot be told now whether this request was carried out before, so it was not run. Send it again \
                  with the same key.";
    Problem::new(ProblemKind::StoreUnavailable, detail).retry_after(PAUSE)
}

pub(crate) fn journal_unavailable() -> Problem {
    let detail = "It cannot be told now whether this request was carried out. Send it again with the same key; it will \
                  not be carried out twice.";
    Problem::new(ProblemKind::JournalUnavailable, detail).retry_after(PAUSE)
}

pub(crate) fn store_full() -> Problem {
    let detail = "There is no room to record another key, so the request was not run. Send it again with the same key.";
    Problem::new(ProblemKind::StoreFull, detail).retry_after(PAUSE)
}

fn no_room() -> Problem {
    let detail = "The service holds as many bytes of requests as it may at once, so this one was not run. Send it again \
                  with the same key.";
    Problem::new(ProblemKind::TooManyInFlight, detail).retry_after(PAUSE)
}

fn too_many_in_flight() -> Problem {
    let detail = "The service runs as many requests as it may at once, so this one was not run. Send it again with the \
                  same key.";
    Problem::new(ProblemKind::TooManyInFlight, detail).retry_after(PAUSE)
}

pub(crate) fn record_unreadable() -> Problem {
    let detail = "There is a record of this key that cannot be understood, so the request was not run. Retrying does \
                  not help until the service's operators have looked at it.";
    Problem::new(ProblemKind::RecordUnreadable, detail)
}

/// A header's name as people write it: `Idempotency-Key`.
pub(crate) fn shown(header: &str) -> String {
    let words = header.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_comes_back_soon_or_when_the_lease_is_over() {
        let seconds = |left| in_flight(left, Duration::from_secs(30)).retry_after_seconds();
        assert_eq!(seconds(Duration::from_secs(29)), Some(1));
        assert_eq!(seconds(Duration::from_millis(14_001)), Some(15));
        assert_eq!(seconds(Duration::from_secs(14)), Some(14));
        assert_eq!(seconds(Duration::ZERO), Some(1));
    }

    #[test]
    fn the_header_is_named_as_people_write_it() {
        let problem = key_missing(&HeaderName::from_static("idempotency-key"), None);
        assert!(problem.detail().starts_with("Send the header `Idempotency-Key`"));
    }
}
