//! Formats errors for the log.

use std::{error::Error, iter::successors};

/// An error and its causes, in one line. A cause is left out if the line already ends with its text, because some
/// errors print their cause and also return it as their source.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the table is missing")]
    struct Cause;

    #[derive(Debug, thiserror::Error)]
    #[error("the database said: {0}")]
    struct Repeating(#[source] Cause);

    #[derive(Debug, thiserror::Error)]
    #[error("nothing was committed")]
    struct Outer(#[source] Repeating);

    #[test]
    fn every_cause_is_printed_once() {
        assert_eq!(chain(&Outer(Repeating(Cause))), "nothing was committed: the database said: the table is missing");
        assert_eq!(chain(&Cause), "the table is missing");
    }
}
