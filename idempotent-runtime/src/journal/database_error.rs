//! What an error of the journal's database means.

use super::Unanswered;

/// The journal's table cannot be used, and will not be until somebody does something about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error(
        "the journal's table is missing or has another layout: run `SqlJournal::migrate` when the service starts, or the \
         text of `SqlJournal::schema`"
    )]
    Missing(#[source] sqlx::Error),
    #[error(
        "the database's role may not use the journal's table: GRANT SELECT, INSERT, UPDATE, DELETE on it and USAGE on its \
         schema"
    )]
    Forbidden(#[source] sqlx::Error),
}

impl TableError {
    /// The error back if it says nothing of the table.
    pub(super) fn of(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        match code(&error).as_deref() {
            // No such table, schema or column. SQLite has no code for that alone: 1 stands for other errors as well.
            Some("42P01" | "3F000" | "42703" | "1") => Ok(Self::Missing(error)),
            // Postgres: not permitted.
            Some("42501") => Ok(Self::Forbidden(error)),
            _ => Err(error),
        }
    }
}

/// What a look into the table came to.
pub(crate) fn unanswered(error: sqlx::Error) -> Unanswered {
    let unreadable = match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        // A value that cannot be computed with, such as an expiry at infinity: class 22, and what is not supported.
        sqlx::Error::Database(_) => code(&error).is_some_and(|code| code.starts_with("22") || code == "0A000"),
        _ => false,
    };
    if unreadable {
        return Unanswered::Unreadable(error.into());
    }
    match TableError::of(error) {
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
