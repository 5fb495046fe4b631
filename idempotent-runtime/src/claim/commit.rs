//! [`Claim::commit`]: the response and the rows, both or neither.

use axum::response::IntoResponse;
use sqlx::Transaction;

use super::Claim;
use crate::journal::{CommitError, Committed, JournalDatabase, JournalEntry};
use axum::response::Response;

impl Claim {
    /// Commits the handler's transaction together with its response: after a crash at any point either both are there or
    /// neither.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-sqlite")]
    /// # mod example {
    /// use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
    /// use idempotent_runtime::{Claim, CommitError, Idempotency, idempotent};
    /// # #[derive(Clone)]
    /// # struct App { db: sqlx::SqlitePool, idempotency: Idempotency }
    /// # impl axum::extract::FromRef<App> for Idempotency {
    /// #     fn from_ref(app: &App) -> Self { app.idempotency.clone() }
    /// # }
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum AppError {
    ///     #[error(transparent)]
    ///     Commit(#[from] CommitError),
    ///     #[error(transparent)]
    ///     Database(#[from] sqlx::Error),
    /// }
    /// # impl IntoResponse for AppError {
    /// #     fn into_response(self) -> axum::response::Response { StatusCode::INTERNAL_SERVER_ERROR.into_response() }
    /// # }
    ///
    /// #[idempotent(ttl = "24h")]
    /// async fn create_payment(
    ///     State(app): State<App>,
    ///     claim: Claim,
    ///     Json(amount): Json<i64>,
    /// ) -> Result<impl IntoResponse, AppError> {
    ///     let mut tx = app.db.begin_with("BEGIN IMMEDIATE").await?;
    ///     let insert = sqlx::query("INSERT INTO payments (amount) VALUES (?)").bind(amount);
    ///     let id = insert.execute(&mut *tx).await?.last_insert_rowid();
    ///     Ok(claim.commit(tx, (StatusCode::CREATED, Json(id))).await?)
    /// }
    /// # }
    /// ```
    ///
    /// The response settles the key whatever its status, and is recorded as it would be stored: one that is too large or
    /// endless without its body. If an earlier attempt's response is in the journal already, everything is rolled back and
    /// the result is that response, marked as a replay: see [`Committed::replayed`]. Where there is nothing to protect (no
    /// key, a safe method, protection disabled) it just commits. In an outage that runs unprotected it records as always,
    /// so the journal still holds what the store cannot.
    ///
    /// The transaction has to be in the journal's own database.
    ///
    /// # Errors
    /// [`CommitError`]; all but [`CommitError::Unknown`] mean that nothing was committed.
    pub async fn commit<DB: JournalDatabase>(
        &self,
        tx: Transaction<'_, DB>,
        response: impl IntoResponse,
    ) -> Result<Committed, CommitError> {
        let response = response.into_response();
        if let Some(active) = self.attempt() {
            return active.commit(tx, response).await;
        }
        tx.commit().await.map_err(|error| CommitError::Unknown(error.into()))?;
        Ok(Committed { response, replayed: false })
    }

    /// Records the response in the transaction, for those who commit by themselves.
    ///
    /// Send what comes back only after a COMMIT that succeeded, and as it is: the engine looks into the journal before it
    /// answers, and what was not committed is not sent (503 `journal-unavailable`). May be repeated with a new transaction
    /// after one that was rolled back. If what comes back is [`replayed`](Committed::replayed), roll back and return it.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-postgres")]
    /// # async fn handler(claim: idempotent_runtime::Claim, db: sqlx::PgPool) -> Result<axum::response::Response, Box<dyn std::error::Error>> {
    /// use axum::http::StatusCode;
    ///
    /// let mut tx = db.begin().await?;
    /// // … rows of your own …
    /// let recorded = claim.record(&mut tx, StatusCode::CREATED).await?;
    /// if recorded.replayed() {
    ///     tx.rollback().await?;
    /// } else {
    ///     tx.commit().await?;
    /// }
    /// # Ok(recorded.into())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CommitError`], as for [`commit`](Self::commit). Roll the transaction back then.
    pub async fn record<DB: JournalDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: impl IntoResponse,
    ) -> Result<Committed, CommitError> {
        let response = response.into_response();
        match self.attempt() {
            Some(active) => active.record(tx, response).await,
            None => Ok(Committed { response, replayed: false }),
        }
    }

    /// The row to insert, for those who do not use sqlx for their transactions, and the response to send once it is
    /// committed. There is no row if there is nothing to protect.
    ///
    /// The same by diesel and by `SeaORM` is in the repository, under `tests/fixtures/drivers`.
    ///
    /// Insert it with [`SqlJournal::insert_statement`](crate::SqlJournal::insert_statement). If that changes no row, roll
    /// back and return the response all the same: the client gets the one that is in the journal.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-postgres")]
    /// # async fn handler(claim: idempotent_runtime::Claim, db: Driver, journal: &idempotent_runtime::SqlJournal) -> Result<axum::response::Response, Box<dyn std::error::Error>> {
    /// # use axum::{http::StatusCode, response::Response};
    /// let mut tx = db.begin();
    /// // … rows of your own …
    /// let (entry, response) = claim.entry(StatusCode::CREATED).await?;
    /// let free = match entry {
    ///     Some(row) => {
    ///         let keyed = tx.execute(journal.insert_statement());
    ///         let whose = keyed.bind(row.key).bind(row.fingerprint).bind(row.token).bind(row.fence);
    ///         whose.bind(row.record).bind(row.ttl_millis).rows_changed() == 1
    ///     }
    ///     None => true,
    /// };
    /// if free { tx.commit() } else { tx.roll_back() }
    /// # Ok(response)
    /// # }
    /// # struct Driver;
    /// # impl Driver {
    /// #     fn begin(&self) -> Self { Self }
    /// #     fn execute(&mut self, _: &str) -> Self { Self }
    /// #     fn bind<T>(self, _: T) -> Self { self }
    /// #     fn rows_changed(self) -> usize { 1 }
    /// #     fn commit(self) {}
    /// #     fn roll_back(self) {}
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CommitError::NoJournal`], [`CommitError::Twice`] and [`CommitError::Response`].
    pub async fn entry(&self, response: impl IntoResponse) -> Result<(Option<JournalEntry>, Response), CommitError> {
        let response = response.into_response();
        match self.attempt() {
            Some(active) => active.entry(response).await.map(|(entry, response)| (Some(entry), response)),
            None => Ok((None, response)),
        }
    }
}
