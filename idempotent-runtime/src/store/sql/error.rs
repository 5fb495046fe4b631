//! Turns an error of the database into a [`StoreError`].

use crate::store::StoreError;

/// Errors whose database text does not say enough to an operator.
#[derive(Debug, thiserror::Error)]
enum Advice {
    #[error(
        "the store's table is missing or has another layout: call SqlStore::migrate, or run the text of SqlStore::schema"
    )]
    TableMissing(#[source] sqlx::Error),
    #[error("the database's role may not read and write the store's table: GRANT SELECT, INSERT, UPDATE, DELETE on it")]
    PermissionMissing(#[source] sqlx::Error),
    #[error("{}", super::LOST_STATEMENTS)]
    StatementLost(#[source] sqlx::Error),
    #[error("the database refuses this service: check the address, the database's name and the role")]
    NotLetIn(#[source] sqlx::Error),
}

/// Why a statement failed.
pub(super) enum Failure {
    /// Another transaction changed the row first. The statement changed nothing and may be repeated.
    Conflict,
    /// The database can be read, but nothing can be written now.
    NotWritable(StoreError),
    Other(StoreError),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict => Self::Timeout,
            Failure::NotWritable(error) | Failure::Other(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(refused) => refused.code().unwrap_or_default().into_owned(),
            sqlx::Error::PoolTimedOut => return Self::Other(StoreError::Timeout),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::TypeNotFound { .. } => {
                return Self::Other(StoreError::Forbidden(Box::new(Advice::TableMissing(error))));
            }
            _ => return Self::Other(StoreError::Unreachable(error.into())),
        };
        if code.len() == 5 { postgres(&code, error) } else { sqlite(&code, error) }
    }
}

/// By the SQLSTATE.
fn postgres(code: &str, error: sqlx::Error) -> Failure {
    Failure::Other(match code {
        // Serialization failure and deadlock.
        "40001" | "40P01" => return Failure::Conflict,
        "25006" => return Failure::NotWritable(StoreError::Refused(error.into())),
        "53100" | "53200" => return Failure::NotWritable(StoreError::Full("give the database more room")),
        // Cancelled by a time limit of the server.
        "57014" | "55P03" => StoreError::Timeout,
        "42P01" | "3F000" | "42703" | "42804" => StoreError::Forbidden(Box::new(Advice::TableMissing(error))),
        "42501" => StoreError::Forbidden(Box::new(Advice::PermissionMissing(error))),
        "26000" | "42P05" => StoreError::Forbidden(Box::new(Advice::StatementLost(error))),
        "28000" | "28P01" | "3D000" => StoreError::Forbidden(Box::new(Advice::NotLetIn(error))),
        // Shutting down, starting up, or out of connections.
        "57P01" | "57P02" | "57P03" | "53300" => StoreError::Unreachable(error.into()),
        code if code.starts_with("08") => StoreError::Unreachable(error.into()),
        _ => StoreError::Refused(error.into()),
    })
}

/// By the primary result code, the lowest byte of the extended one.
fn sqlite(code: &str, error: sqlx::Error) -> Failure {
    match code.parse::<u32>().map_or(0, |code| code & 0xff) {
        // No such table or column. SQLite has no code of its own for this.
        1 => Failure::Other(StoreError::Forbidden(Box::new(Advice::TableMissing(error)))),
        // BUSY and LOCKED.
        5 | 6 => Failure::Other(StoreError::Timeout),
        8 => Failure::NotWritable(StoreError::Refused(error.into())),
        13 => Failure::NotWritable(StoreError::Full("raise max_page_count, or give the disk more room")),
        // PERM and AUTH.
        3 | 23 => Failure::Other(StoreError::Forbidden(Box::new(Advice::PermissionMissing(error)))),
        _ => Failure::Other(StoreError::Refused(error.into())),
    }
}
