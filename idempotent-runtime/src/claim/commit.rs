//! [`Claim::commit`]: commits the response and the handler's rows in one transaction.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Transaction;

use super::{
    Claim,
    committed::{CommitEntry, CommitError, Committed},
};
use crate::{
    http::response::{encode::Recorded, record::Record},
    store::sql::CommitDatabase,
};

impl Claim {
    /// Commits the handler's transaction together with its response. After a crash at any point, the database has both
    /// or neither.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-sqlite")]
    /// # mod example {
    /// use axum::{Json, extract::State, http::StatusCode};
    /// use idempotent_runtime::{Claim, CommitError, Committed, Idempotency, idempotent};
    /// # #[derive(Clone)]
    /// # struct App { db: sqlx::SqlitePool, idempotency: Idempotency }
    /// # impl axum::extract::FromRef<App> for Idempotency {
    /// #     fn from_ref(app: &App) -> Self { app.idempotency.clone() }
    /// # }
    ///
    /// #[idempotent(ttl = "24h")]
    /// async fn create_payment(
    ///     State(app): State<App>,
    ///     claim: Claim,
    ///     Json(amount): Json<i64>,
    /// ) -> Result<Committed, CommitError> {
    ///     let mut tx = app.db.begin_with("BEGIN IMMEDIATE").await?;
    ///     let insert = sqlx::query("INSERT INTO payments (amount) VALUES (?)").bind(amount);
    ///     let id = insert.execute(&mut *tx).await?.last_insert_rowid();
    ///     claim.commit(tx, (StatusCode::CREATED, Json(id))).await
    /// }
    /// # }
    /// ```
    ///
    /// The committed response is replayed to every retry. Its status does not matter. It is recorded as it would be stored: a
    /// response that is too large, or has no end, is recorded without its body.
    ///
    /// If the database already has the response of an earlier attempt, the transaction is rolled back, and that response
    /// is returned as a replay: see [`Committed::replayed`].
    ///
    /// If there is nothing to protect (no key, a safe method, protection disabled), this only commits. If the handler
    /// runs without a claim during an outage of the store, the response is recorded as always.
    ///
    /// The transaction must belong to the database of the [`SqlStore`](crate::SqlStore), or of
    /// [`commit_to`](crate::IdempotencyBuilder::commit_to).
    ///
    /// # Errors
    /// [`CommitError`]. Each of its variants but [`CommitError::Unknown`] means that nothing was committed.
    pub async fn commit<DB: CommitDatabase>(
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

    /// As [`commit`](Self::commit), for the effect of an [operation](crate::Idempotency::operation): commits the
    /// transaction together with the operation's result, and returns the result.
    ///
    /// If an earlier attempt has committed already, this transaction is rolled back, and the result of that attempt is
    /// returned.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). Also if the value cannot be written as JSON; nothing is committed then.
    pub async fn commit_value<DB, T>(&self, tx: Transaction<'_, DB>, value: T) -> Result<T, CommitError>
    where
        DB: CommitDatabase,
        T: Serialize + DeserializeOwned,
    {
        let Committed { response, replayed } = self.commit(tx, json(&value)?).await?;
        if replayed { committed_value(&response) } else { Ok(value) }
    }

    /// Records the response in the transaction without committing it, for handlers that commit by themselves.
    ///
    /// Send the returned response unchanged, and only after the COMMIT has succeeded. The engine asks the database before
    /// it answers; if the row was not committed, the client gets 503 `journal-unavailable`. If the transaction was rolled
    /// back, this may be called again with a new one. If the result is [`replayed`](Committed::replayed), roll back and
    /// return it.
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
    /// [`CommitError`], as for [`commit`](Self::commit). Roll the transaction back after an error.
    pub async fn record<DB: CommitDatabase>(
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

    /// The row to insert, and the response to send once the row is committed. For handlers whose transactions are not
    /// made by sqlx. There is no row if there is nothing to protect.
    ///
    /// The repository has complete examples with diesel and `SeaORM`, under `tests/fixtures/drivers`.
    ///
    /// Insert the row with [`SqlStore::commit_statement`](crate::SqlStore::commit_statement). If the statement
    /// changes no row, roll back and return the response anyway: the engine then answers with the response that the
    /// database has.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-postgres")]
    /// # async fn handler(claim: idempotent_runtime::Claim, db: Driver, database: &idempotent_runtime::SqlStore) -> Result<axum::response::Response, Box<dyn std::error::Error>> {
    /// # use axum::{http::StatusCode, response::Response};
    /// let mut tx = db.begin();
    /// // … rows of your own …
    /// let (entry, response) = claim.entry(StatusCode::CREATED).await?;
    /// let free = match entry {
    ///     Some(row) => {
    ///         let keyed = tx.execute(database.commit_statement());
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
    /// [`CommitError::NoDatabase`], [`CommitError::Twice`] and [`CommitError::Response`].
    pub async fn entry(&self, response: impl IntoResponse) -> Result<(Option<CommitEntry>, Response), CommitError> {
        let response = response.into_response();
        match self.attempt() {
            Some(active) => active.entry(response).await.map(|(entry, response)| (Some(entry), response)),
            None => Ok((None, response)),
        }
    }
}

/// A value as the response that stands for it: 200 with JSON.
fn json(value: &impl Serialize) -> Result<Response, CommitError> {
    let written = serde_json::to_vec(value).map_err(|error| CommitError::Response(Some(error.into())))?;
    Ok(([(CONTENT_TYPE, "application/json")], written).into_response())
}

/// The value that an earlier attempt has committed.
fn committed_value<T: DeserializeOwned>(response: &Response) -> Result<T, CommitError> {
    let Some(Recorded { record, .. }) = response.extensions().get() else {
        return Err(CommitError::Unreadable("it has no record".into()));
    };
    let content = Record::content(record).map_err(|error| CommitError::Unreadable(error.into()))?;
    let content = content.ok_or_else(|| CommitError::Unreadable("it was too large to be kept".into()))?;
    serde_json::from_slice(&content).map_err(|error| CommitError::Unreadable(error.into()))
}
