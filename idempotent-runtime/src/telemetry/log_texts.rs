//! Every text of the log at the levels `warn` and `error`. `docs/errors.md` has a row for each, with what to do about it.

use tracing::Level;

/// A text, and the level at which it is logged.
pub(crate) struct LogText {
    pub(crate) level: Level,
    pub(crate) text: &'static str,
}

macro_rules! log_texts {
    ($($name:ident: $level:ident, $text:literal;)*) => {
        $(
            #[allow(dead_code)] // without the feature that it is about
            pub(crate) const $name: LogText = LogText { level: Level::$level, text: $text };
        )*

        #[cfg(test)]
        const ALL: &[LogText] = &[$($name),*];
    };
}

log_texts! {
    // At the start.
    DEFAULT_NAMESPACE: WARN, "the namespace is the default one; services that share a store need different namespaces";
    NO_APPEND_ONLY_FILE: WARN, "Redis keeps no append-only file: when it restarts, retries of what it forgot run again";
    EVICTION_POLICY: WARN, "Redis evicts records: a retry of an evicted one runs again";
    INFO_REFUSED: WARN, "Redis refuses INFO: its version and eviction policy are not checked";
    NODE_WITHOUT_INFO: WARN, "a node of the cluster does not answer INFO: none is checked";
    NODE_WITHOUT_PERMISSIONS: WARN, "a node of the cluster does not answer: what the user may run is not checked";
    NO_WRITE_AHEAD_LOG: WARN, "SQLite does not keep a write-ahead log now, so readers may have to wait";

    // Mistakes in the program.
    LAYER_MISSING: ERROR, "a handler with `#[idempotent(store = extension)]` found no `Idempotency` in its request's extensions: add `.layer(idempotency.layer())` to the router";
    OPERATION_TWICE: ERROR, "two handlers have the same operation, so the second does not run";
    ANONYMOUS: WARN, "a request has none of the credentials that are compared, and its handler has no scope: whoever sends the same key and request gets the stored response; set scope, .credentials(…) or .credential_cookie(…)";
    FINGERPRINT: ERROR, "the value of `fingerprint` cannot be hashed";
    RESULT_UNWRITABLE: ERROR, "an operation's result cannot be written as JSON; a retry gets no value";
    RESULT_TOO_LARGE: WARN, "an operation's result is larger than max_response; a retry gets no value";
    RESPONSE_TOO_LARGE: WARN, "a response is larger than max_response, so a retry gets 409 not-replayable";
    NOT_COMMITTED_BY_HANDLER: ERROR, "a response was recorded in a transaction that was not committed";
    COMMIT_REFUSED: WARN, "a transaction was not committed";
    COMMIT_FAILED: ERROR, "a transaction was not committed";

    // An outage of the store.
    STORE_UNAVAILABLE: WARN, "store unavailable, requests refused; logged at most once a minute";
    REDIS_LOST: WARN, "connection to Redis lost, connecting again";
    REDIS_DOWN: WARN, "cannot connect to Redis: requests with a key are refused until it answers";
    UNPROTECTED: WARN, "the handler runs while the store is down";
    HEARTBEAT_FAILED: WARN, "a heartbeat did not reach the store";
    STEP_NOT_SAVED: WARN, "a step is not saved yet; the next step or the attempt's end saves it";
    STORED_LATER: WARN, "the store did not answer in time; the response is stored in the background";
    ENDED_LATER: WARN, "the store did not answer when an attempt ended; ending it is tried again in the background";
    NOT_STORED: ERROR, "response not stored; a retry may run again";
    WITHOUT_BODY: WARN, "a response is stored without its body";
    WRONG_LENGTH: WARN, "a response is larger than its Content-Length, and is sent and stored without that header";
    NO_THREAD: ERROR, "no thread for heartbeats: they depend on the handlers' threads";
    DRAIN_GIVEN_UP: WARN, "drain was given up, and these requests and this work in the background are not finished";

    // Records that are lost or cannot be read.
    REDIS_RESTARTED: WARN, "another Redis process answers than before: what it does not know of is forgotten, and runs again when it is retried";
    REDIS_EVICTED: ERROR, "Redis evicted records: their requests run again when they are retried; set maxmemory-policy noeviction";
    RECREATED: ERROR, "the store had lost the claim of a running attempt, and it was created again: what else it lost runs again when it is retried";
    RECORD_UNREADABLE: ERROR, "a stored record cannot be read";
    RECORD_FOR_EVER: ERROR, "a stored record cannot be read, or would never expire";
    RECORD_SEALED: ERROR, "a record cannot be decrypted";
    STEPS_UNREADABLE: ERROR, "the saved steps of a claim cannot be read";

    // Attempts that died or lost their claim.
    TAKEOVER: WARN, "an earlier attempt stopped without reporting a result";
    ABANDONED: WARN, "an attempt ended, and its effects are unknown";
    CLAIM_LOST: WARN, "the claim may be lost";
    FENCED: WARN, "a response is not stored: another attempt has the key";

    // The table of a database.
    TABLE_UNUSABLE: ERROR, "the table for commits cannot be used, so no request with a key is run";
    ROWS_NOT_DELETED: WARN, "expired rows were not deleted";
    COMMIT_UNANSWERED: WARN, "a COMMIT failed or got no answer; the database is asked whether it took effect";
    ROLLBACK_UNANSWERED: WARN, "a rollback got no answer; its connection is closed";
    COMMITS_UNREAD_WHILE_RUNNING: WARN, "the database did not say whether the running attempt has committed, so it counts as running";
    COMMITS_UNREAD_BEFORE: ERROR, "the database did not say whether an earlier attempt has committed, so the handler does not run";
    COMMITS_UNREAD_AFTER: ERROR, "a run ended, and the database did not say whether it has committed";
    COMMIT_NOT_COPIED: WARN, "a committed response was found in the database, but the store did not take it";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_of_errors_has_a_row_for_each_text_and_no_other() {
        let page = include_str!("../../docs/errors.md");
        let section = page.split("\n### ").find(|section| section.starts_with("In the log\n")).unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `") && line.contains("` | "));
        let rows: BTreeSet<&str> = rows.map(|row| row.rsplit_once(" | ").unwrap().0).collect();
        let quoted = |text: &str, shown: &str| match shown.strip_suffix('…') {
            Some(beginning) => text.starts_with(beginning),
            None => text == shown,
        };
        let is_row = |LogText { level, text }: &LogText, row: &str| {
            let (shown, levels) = row.trim_start_matches("| `").split_once("` | ").unwrap();
            let level = level.as_str().to_ascii_lowercase();
            levels.split(", ").any(|listed| listed == level) && quoted(&text.replace('`', ""), shown)
        };
        let missing = ALL.iter().filter(|text| !rows.iter().any(|row| is_row(text, row))).map(|text| text.text);
        let unknown = rows.iter().filter(|row| !ALL.iter().any(|text| is_row(text, row)));
        assert_eq!(missing.chain(unknown.copied()).collect::<Vec<_>>(), [""; 0]);
    }
}
