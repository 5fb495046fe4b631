//! Limits how many lines one place in the code logs, so that an outage does not fill the log with one line a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// How many lines of one place are logged in each [`WINDOW`]; the others are left to the level `debug`.
const LINES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(60);

/// What one place has logged.
pub(crate) struct LogLimit {
    lines: u32,
    logged: Mutex<Option<Logged>>,
}

struct Logged {
    since: Instant,
    lines: u32,
    unlogged: u64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self::with_lines(LINES)
    }

    const fn with_lines(lines: u32) -> Self {
        Self { lines, logged: Mutex::new(None) }
    }

    /// `None` if enough is logged, else how many lines of the window before were not.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *logged {
            Some(logged) if now.saturating_duration_since(logged.since) < WINDOW => {
                if logged.lines < self.lines {
                    logged.lines += 1;
                    return Some(0);
                }
                logged.unlogged += 1;
                None
            }
            last => {
                let unlogged = last.as_ref().map_or(0, |logged| logged.unlogged);
                *last = Some(Logged { since: now, lines: 1, unlogged: 0 });
                Some(unlogged)
            }
        }
    }
}

/// A limit of one line in each window for each kind of event. There are only a few kinds.
#[derive(Default)]
pub(crate) struct LogLimits(Mutex<BTreeMap<&'static str, LogLimit>>);

impl LogLimits {
    /// As [`LogLimit::admit`], for this kind.
    pub(crate) fn admit(&self, kind: &'static str) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_insert(LogLimit::with_lines(1)).admit()
    }
}

/// The handlers for which it is logged that their callers are not told apart.
static LOGGED: RwLock<BTreeSet<&str>> = RwLock::new(BTreeSet::new());

/// A request has none of the credentials that are compared, and its handler has no `scope`. It is logged once for each
/// handler.
pub(crate) fn anonymous(handler: &'static str) {
    if LOGGED.read().unwrap_or_else(PoisonError::into_inner).contains(handler) {
        return;
    }
    if LOGGED.write().unwrap_or_else(PoisonError::into_inner).insert(handler) {
        super::log!(ANONYMOUS, idempotency.handler = handler);
    }
}

/// Logs a text of `log_texts.rs`: `log!(TEXT, field = value)`.
macro_rules! log {
    ($text:ident $(, $($fields:tt)+)?) => {
        ::tracing::event!(
            $crate::telemetry::log_texts::$text.level,
            $($($fields)+,)?
            "{}",
            $crate::telemetry::log_texts::$text.text
        )
    };
}

/// As `log!`, but beyond the limit of this place at `debug`. `limited!(TEXT; about, field = value)` adds the fields of an
/// [`About`](super::About).
macro_rules! limited {
    ($text:ident; $about:expr $(, $($fields:tt)+)?) => {
        match $about {
            about => $crate::telemetry::limited!(
                $text,
                idempotency.handler = about.handler,
                idempotency.digest = %about.digest(),
                idempotency.fence = about.fence
                $(, $($fields)+)?
            ),
        }
    };
    ($text:ident $(, $($fields:tt)+)?) => {{
        static LIMIT: $crate::telemetry::LogLimit = $crate::telemetry::LogLimit::new();
        match LIMIT.admit() {
            Some(0) => $crate::telemetry::log!($text $(, $($fields)+)?),
            Some(unlogged) => $crate::telemetry::log!($text, unlogged $(, $($fields)+)?),
            None => ::tracing::debug!($($($fields)+,)? "{}", $crate::telemetry::log_texts::$text.text),
        }
    }};
}

pub(crate) use {limited, log};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_are_logged_and_then_how_many_were_not() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        let admitted = (0..25).filter(|_| limit.admit_at(start).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(limit.admit_at(start + Duration::from_secs(59)), None);
        assert_eq!(limit.admit_at(start + WINDOW), Some(16));
        assert_eq!(limit.admit_at(start + WINDOW), Some(0));
    }
}
