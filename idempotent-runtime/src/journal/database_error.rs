//! Interprets an error of the database where responses are committed.

use super::Unanswered;

/// The table cannot be used until an operator has repaired it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error(
        "the table for commits is missing or has another layout: run `SqlStore::migrate` when the service starts, or the \
         text of `SqlStore::schema`"
    )]
    Missing(#[source] sqlx::Error),
    #[error(
        "the database's role may not use the table for commits: GRANT SELECT, INSERT, UPDATE, DELETE on it and USAGE on its \
         schema"
    )]
    Forbidden(#[source] sqlx::Error),
}

impl TableError {
    /// Returns the error itself if it does not concern the table.
    pub(super) fn from_database(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        match code(&error).as_deref() {
            // No such table, schema or column. SQLite uses code 1 for this and for other errors.
            Some("42P01" | "3F000" | "42703" | "1") => Ok(Self::Missing(error)),
            // Postgres: not permitted.
            Some("42501") => Ok(Self::Forbidden(error)),
            _ => Err(error),
        }
    }
}

/// Why the journal gave no answer.
pub(crate) fn unanswered(error: sqlx::Error) -> Unanswered {
    let unreadable = match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        // A value that cannot be used in a calculation, such as an expiry at infinity: SQLSTATE class 22, or "feature
        // not supported".
        sqlx::Error::Database(_) => code(&error).is_some_and(|code| code.starts_with("22") || code == "0A000"),
        _ => false,
    };
    if unreadable {
        return Unanswered::Unreadable(error.into());
    }
    match TableError::from_database(error) {
        Ok(error) => Unanswered::Failed(error.into()),
        Err(error) => Unanswered::Failed(error.into()),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(refused) => refused.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}
