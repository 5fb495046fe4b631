//! Every text that the engine sends to a client. Pure.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

use super::{Problem, ProblemKind};

/// The `Retry-After` of a fault that is likely to pass soon.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn key_missing(header: &HeaderName, meant: Option<&HeaderName>) -> Problem {
    let mut detail = format!(
        "Send the header `{}` with a value that you choose: new for each operation, and the same for each retry of \
         it. A random UUID is best.",
        shown(header.as_str())
    );
    if let Some(meant) = meant {
        detail = format!("The header `{}` does not carry the key in this service. {detail}", shown(meant.as_str()));
    }
    Problem::new(ProblemKind::KeyMissing, detail)
}

pub(crate) fn key_value_missing() -> Problem {
    let detail = "The request lacks the value that this operation uses as its key. Send one that is new for each \
                  operation and the same for each retry of it.";
    Problem::new(ProblemKind::KeyMissing, detail)
}

pub(crate) fn key_from_the_future() -> Problem {
    let detail = "The key's time stamp is more than 5 minutes ahead of the service's clock. Correct your clock, and \
                  make the key when the user asks for the operation.";
    Problem::new(ProblemKind::KeyInvalid, detail)
}

pub(crate) fn key_expired() -> Problem {
    let detail = "The key is older than the service keeps responses, so it cannot be known whether the request was \
                  carried out. Look at the resource first. Make a new key only for a new operation.";
    Problem::new(ProblemKind::KeyExpired, detail)
}

pub(crate) fn key_reused(scoped: bool) -> Problem {
    let detail = if scoped {
        "The key was used before, for a request with another path, query, body, content type, range or precondition. \
         If this is a retry, send it exactly as the first try. Otherwise the first request may have been carried out: \
         look at the resource first. Make a new key only for a new operation."
    } else {
        "The key was used before, for a request with another path, query, body, content type, range, precondition or \
         other credentials. If this is a retry, send it exactly as the first try. Otherwise the first request may have \
         been carried out: look at the resource first. Make a new key only for a new operation."
    };
    Problem::new(ProblemKind::KeyReused, detail)
}

/// One second while the first attempt is certainly alive. Otherwise, the time until its lease is over.
pub(crate) fn in_flight(left: Duration, lease: Duration) -> Problem {
    let pause = if left > lease / 2 { PAUSE } else { left };
    let detail = "The first request with this key is still running. Send this request again with the same key, after \
                  the pause in Retry-After.";
    Problem::new(ProblemKind::InFlight, detail).retry_after(pause)
}

pub(crate) fn outcome_unknown() -> Problem {
    let detail = "An earlier attempt at this request stopped without reporting a result, so its effects are unknown. \
                  The request will not be run again. Look at the resource, or ask the service's operators.";
    Problem::new(ProblemKind::OutcomeUnknown, detail)
}

pub(crate) fn not_replayable(location: Option<HeaderValue>) -> Problem {
    let detail = "The request was carried out, but its response was too large or endless and so was not stored. The \
                  request will not be run again. If this answer has a Location, the result is there.";
    Problem::new(ProblemKind::NotReplayable, detail).location(location)
}

pub(crate) fn request_too_large() -> Problem {
    let detail = "The body is larger than the service accepts here.";
    Problem::new(ProblemKind::RequestTooLarge, detail)
}

pub(crate) fn request_unreadable() -> Problem {
    let detail =
        "The body of the request ended early. Nothing was carried out. Send the request again with the same key.";
    Problem::new(ProblemKind::RequestUnreadable, detail)
}

pub(crate) fn store_unavailable() -> Problem {
    let detail = "The store of idempotency keys cannot be reached, so it cannot be known whether this request was \
                  carried out before. It was not run now. Send it again with the same key.";
    Problem::new(ProblemKind::StoreUnavailable, detail).retry_after(PAUSE)
}

pub(crate) fn journal_unavailable() -> Problem {
    let detail = "The service cannot read now whether this request was carried out. Send it again with the same key. It will not be carried out twice.";
    Problem::new(ProblemKind::JournalUnavailable, detail).retry_after(PAUSE)
}

pub(crate) fn store_full() -> Problem {
    let detail = "The store has no room for another key, so the request was not run. Send it again with the same key.";
    Problem::new(ProblemKind::StoreFull, detail).retry_after(PAUSE)
}

pub(crate) fn no_room() -> Problem {
    let detail = "The service has reached its limit for bytes of requests in memory, so this request was not run. Send \
                  it again with the same key.";
    Problem::new(ProblemKind::TooManyInFlight, detail).retry_after(PAUSE)
}

pub(crate) fn too_many_in_flight() -> Problem {
    let detail = "The service has reached its limit for requests in flight, so this request was not run. Send it again \
                  with the same key.";
    Problem::new(ProblemKind::TooManyInFlight, detail).retry_after(PAUSE)
}

pub(crate) fn record_unreadable() -> Problem {
    let detail = "What the service keeps for this key cannot be read, so the request was not run. Retrying does not help \
                  until the service's operators have looked at it.";
    Problem::new(ProblemKind::RecordUnreadable, detail)
}

/// What operators can do about a problem, for the log. Clients do not get it.
pub(crate) const fn advice(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::KeyReused => "if one caller's credentials change between tries, set the attribute's `scope`",
        ProblemKind::RequestTooLarge => "axum's `DefaultBodyLimit` and `max_request` limit what can be protected",
        ProblemKind::NotReplayable => "`max_response` limits what is stored",
        _ => "",
    }
}

/// A header's name in its usual spelling: `Idempotency-Key`.
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
}
