//! Errors in a log.

use std::{error::Error, iter::successors};

/// An error with its causes, in one line. A cause whose text ends the line already is not repeated: some errors print
/// their cause and name it as their source as well.
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
