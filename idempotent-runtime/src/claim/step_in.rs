//! [`Claim::step_in`]: a recovery point that is committed together with its effect.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Transaction;

use super::{
    Claim, CommitError,
    step::{StepError, parse, unwritable},
    step_saving::NotCommitted,
};
use crate::store::sql::CommitDatabase;

impl Claim {
    /// Runs one effect in a transaction of the handler's and commits it together with its value: after a crash at any point
    /// either both are there or neither.
    ///
    /// It is [`step`](Self::step) for an effect in the service's own database. Between the effect and its save nothing can
    /// happen, so the effect needs no key of its own. Needs a [`SqlStore`](crate::SqlStore)
    /// in the database of the transaction, as the store or by [`commit_to`](crate::IdempotencyBuilder::commit_to).
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-sqlite")]
    /// # mod example {
    /// use axum::{Json, extract::State, http::StatusCode};
    /// use idempotent_runtime::{Claim, Idempotency, idempotent};
    /// # #[derive(Clone)]
    /// # struct App { db: sqlx::SqlitePool, idempotency: Idempotency }
    /// # impl axum::extract::FromRef<App> for Idempotency {
    /// #     fn from_ref(app: &App) -> Self { app.idempotency.clone() }
    /// # }
    /// # fn unavailable<E>(_: E) -> StatusCode { StatusCode::SERVICE_UNAVAILABLE }
    /// # async fn send_mail(_: uuid::Uuid, _: i64) -> Result<(), StatusCode> { Ok(()) }
    ///
    /// #[idempotent(ttl = "24h")]
    /// async fn order(State(app): State<App>, claim: Claim, Json(cents): Json<i64>) -> Result<Json<i64>, StatusCode> {
    ///     let tx = app.db.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    ///     let order = claim.step_in(tx, "order", async |db| {
    ///         let insert = sqlx::query("INSERT INTO orders (cents) VALUES (?)").bind(cents);
    ///         Ok::<_, sqlx::Error>(insert.execute(db).await?.last_insert_rowid())
    ///     });
    ///     let order = order.await.map_err(unavailable)?;
    ///     claim.step("mail", || send_mail(claim.derive_key("mail"), order)).await.map_err(unavailable)?;
    ///     Ok(Json(order))
    /// }
    /// # }
    /// ```
    ///
    /// If the step is saved already, its value is returned, `run` is not called, and the transaction is rolled back. So is
    /// the transaction of every error: nothing was committed then, unless it is
    /// [`CommitError::Unknown`]. `step` and `step_in` share their names. Use [`commit`](Self::commit) instead where the
    /// handler's response can be committed with the effect, which is the case for the last effect of a handler.
    ///
    /// If the claims are in the database, the value is saved in the row of the claim, with those of the other steps. The
    /// row's token is compared, so that an attempt that lost its claim commits nothing. From that statement to COMMIT the
    /// key counts as running. If they are elsewhere, the value is saved in its own row under a unique key. If two
    /// attempts run the step at the same time, one of them commits; the other is rolled back and gets its value. That row
    /// is kept for `max_attempt` and a lease longer than the response, because its attempt may take that long: a client that
    /// uses its key again in that time, after the ttl, runs the handler again and gets the step's old value.
    ///
    /// While the transaction is open, SQLite lets nobody else write. Do not await another [`step`](Self::step) before this
    /// one has ended: its value could be saved only afterwards.
    ///
    /// The value may take [`max_response`](crate::IdempotencyBuilder::max_response) bytes. If the claims are in the
    /// database, this includes the other steps. Without a key from the client the step just runs and is committed.
    ///
    /// # Errors
    /// [`StepError`]; [`StepError::Commit`] if the database did not commit it. With every error, the step did not
    /// happen, unless the variant says otherwise.
    pub async fn step_in<DB, T, E, F>(
        &self,
        mut tx: Transaction<'_, DB>,
        name: impl AsRef<str>,
        run: F,
    ) -> Result<T, StepError<E>>
    where
        DB: CommitDatabase,
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce(&mut DB::Connection) -> Result<T, E>,
    {
        let Some(active) = self.attempt() else {
            let value = run(&mut *tx).await.map_err(StepError::Failed)?;
            let committed = tx.commit().await;
            return committed.map(|()| value).map_err(|error| StepError::Commit(CommitError::Unknown(error.into())));
        };
        if active.has_ended() {
            return Err(StepError::Ended);
        }
        let name = name.as_ref();
        let used = active.steps.enter(name).ok_or(StepError::NameUsed)?;
        if let Some(saved) = active.saved_step::<DB>(&mut tx, name).await? {
            used.ran();
            return parse(&saved);
        }
        let value = run(&mut *tx).await.map_err(StepError::Failed)?;
        // A value that cannot be written or read back is found before the commit, so nothing has happened.
        let written = Bytes::from(serde_json::to_vec(&value).map_err(unwritable::<T, E>)?);
        parse::<T, E>(&written)?;
        let saved = active.commit_step(tx, name, written).await?;
        used.ran();
        parse(&saved)
    }
}

impl<E> From<NotCommitted> for StepError<E> {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Lost => Self::Lost,
            NotCommitted::TooLarge => Self::TooLarge,
            NotCommitted::Refused(error) => Self::Commit(error),
        }
    }
}
