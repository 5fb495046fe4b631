//! [`Claim::commit`]: the response and the rows, both or neither.

use std::{error::Error, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sqlx::Transaction;
use tokio::time::timeout;

use super::{
    Page, Progress, Row,
    database::{JournalDatabase, Values},
    digest,
    schema::Schema,
};
use crate::{
    claim::Claim,
    outcome::{self, Recorded},
    record,
    store::Attempt,
};

/// What [`Claim::commit`] answers with. Return it as it is: a header that is added later is sent once and not replayed.
#[derive(Debug)]
#[must_use = "the client has to get the response that was committed"]
pub struct Committed {
    response: Response,
    replayed: bool,
}

impl Committed {
    /// Whether this transaction was rolled back because an earlier attempt's is committed, whose response this is.
    ///
    /// Whatever follows a payment only once, a message for example, is not to follow then.
    #[must_use]
    pub fn replayed(&self) -> bool {
        self.replayed
    }
}

impl IntoResponse for Committed {
    fn into_response(self) -> Response {
        self.response
    }
}

impl From<Committed> for Response {
    fn from(committed: Committed) -> Self {
        committed.response
    }
}

/// One row of the journal in plain fields, for those who insert it without sqlx.
///
/// The fields are the parameters of [`SqlJournal::insert_statement`](crate::SqlJournal::insert_statement), in order.
#[derive(Debug)]
#[non_exhaustive]
pub struct JournalEntry {
    /// SHA-256 of the key's name in the store.
    pub key: Vec<u8>,
    /// What the request asks for.
    pub fingerprint: Vec<u8>,
    /// Whose attempt it is. A secret until the claim has ended.
    pub token: Vec<u8>,
    /// The attempt's fence.
    pub fence: i64,
    /// The encoded response.
    pub record: Vec<u8>,
    /// How long the row counts, in milliseconds.
    pub ttl_millis: i64,
    /// The response to send once the transaction is committed.
    pub response: Response,
}

/// Why a transaction was not committed, or why that is not known.
///
/// Whatever a handler makes of it, the client's answer is right: the engine looks into the journal once more before it
/// answers, and a row that is there wins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The service has no journal. Nothing was committed.
    #[error("there is no journal; give one to Idempotency::builder(…).journal(…)")]
    NoJournal,
    /// The transaction is of another kind of database than the journal. Nothing was committed.
    #[error("the transaction is of another kind of database than the journal")]
    OtherDatabase,
    /// This attempt has committed before. Nothing was committed now.
    #[error("this attempt has committed already; everything that belongs together goes into one transaction")]
    Twice,
    /// The key belongs to another request. Nothing was committed; the client gets 422 `key-reused`.
    #[error("the key belongs to another request")]
    KeyReused,
    /// The response's body broke off or cannot be encoded. Nothing was committed.
    #[error("the response cannot be recorded")]
    Response(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// The database refused. Nothing was committed, and the same transaction may be tried again.
    #[error("the database refused the transaction")]
    Database(#[source] sqlx::Error),
    /// The record was not inserted in time. Nothing was committed.
    #[error("the journal did not answer in time; nothing was committed")]
    Timeout,
    /// COMMIT was sent, and neither its outcome came back nor could it be found out. The client gets 503
    /// `journal-unavailable`, and its retry finds out.
    #[error("whether the transaction was committed is unknown")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
}

/// For handlers without an error type of their own: 500, or 503 where a retry may help. Says nothing of the database.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        tracing::error!(error = %crate::error_chain::chain(&self), "a transaction was not committed");
        match self {
            Self::Timeout | Self::Unknown(_) | Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

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
        if let Some(page) = self.page() {
            return page.commit(tx, response).await;
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
        match self.page() {
            Some(page) => page.record(tx, response).await,
            None => Ok(Committed { response, replayed: false }),
        }
    }

    /// The row to insert, for those who do not use sqlx for their transactions; `None` if there is nothing to protect, so
    /// that the response comes back as it is.
    ///
    /// Insert it with [`SqlJournal::insert_statement`](crate::SqlJournal::insert_statement). If no row was changed, roll
    /// back; whatever the handler returns then, the client gets the response that is in the journal.
    ///
    /// # Errors
    /// [`CommitError::NoJournal`], [`CommitError::Twice`] and [`CommitError::Response`].
    pub async fn entry(&self, response: impl IntoResponse) -> Result<Result<JournalEntry, Response>, CommitError> {
        let response = response.into_response();
        let Some(page) = self.page() else { return Ok(Err(response)) };
        page.schema()?;
        let (record, response) = page.encode(response).await?;
        page.set(Progress::Open);
        let key = digest(&page.attempt.key);
        let Values { key, fingerprint, token, fence, record, ttl_millis } = page.values(&key, &record);
        Ok(Ok(JournalEntry {
            key: key.to_vec(),
            fingerprint: fingerprint.to_vec(),
            token: token.to_vec(),
            fence,
            record: record.to_vec(),
            ttl_millis,
            response,
        }))
    }
}

impl Page {
    async fn commit<DB: JournalDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        let inserted = self.insert(&mut tx, response).await;
        let (record, response) = match inserted {
            Ok(Inserted::Ours { record, response }) => (record, response),
            Ok(Inserted::Taken) => {
                self.roll_back(tx).await;
                return self.collided(None).await;
            }
            Err(CommitError::Database(error)) => {
                self.roll_back(tx).await;
                return self.collided(Some(error)).await;
            }
            Err(error) => {
                self.roll_back(tx).await;
                return Err(error);
            }
        };
        let row = self.own_row(record);
        let lost: Box<dyn Error + Send + Sync> = match timeout(self.limit(), tx.commit()).await {
            Ok(Ok(())) => {
                self.set(Progress::Closed(row));
                return Ok(Committed { response, replayed: false });
            }
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        tracing::warn!(error = %lost, "a COMMIT got no good answer; the journal is asked what became of it");
        let Some(journal) = self.engine.journal.as_deref() else { return Err(CommitError::NoJournal) };
        match journal.settle(&self.attempt).await {
            Ok(Some(row)) if self.owns(&row) => {
                self.set(Progress::Closed(row));
                Ok(Committed { response, replayed: false })
            }
            Ok(Some(row)) => self.replay(row),
            Ok(None) => {
                self.set(Progress::Untouched);
                Err(match lost.downcast::<sqlx::Error>() {
                    Ok(error) => CommitError::Database(*error),
                    Err(_) => CommitError::Timeout,
                })
            }
            Err(_) => Err(CommitError::Unknown(lost)),
        }
    }

    async fn record<DB: JournalDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        match self.insert(tx, response).await? {
            Inserted::Ours { response, .. } => Ok(Committed { response, replayed: false }),
            Inserted::Taken => self.collided(None).await,
        }
    }

    /// Puts the record into the transaction. From here on a future that is dropped leaves the outcome open.
    async fn insert<DB: JournalDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Inserted, CommitError> {
        let schema = self.schema()?;
        if !DB::is(schema) {
            return Err(CommitError::OtherDatabase);
        }
        let (record, response) = self.encode(response).await?;
        let key = digest(&self.attempt.key);
        self.set(Progress::Open);
        match timeout(self.limit(), DB::insert(tx, schema, self.values(&key, &record))).await {
            Ok(Ok(true)) => Ok(Inserted::Ours { record, response }),
            Ok(Ok(false)) => Ok(Inserted::Taken),
            Ok(Err(error)) => Err(CommitError::Database(error)),
            Err(_) => Err(CommitError::Timeout),
        }
    }

    fn schema(&self) -> Result<&Schema, CommitError> {
        if matches!(self.progress(), Progress::Closed(_)) {
            return Err(CommitError::Twice);
        }
        self.engine.journal.as_deref().map(super::Journal::schema).ok_or(CommitError::NoJournal)
    }

    /// The record and the response with its body read, marked as the one that was recorded.
    async fn encode(&self, response: Response) -> Result<(Bytes, Response), CommitError> {
        let encoded = outcome::encode(response, self.engine.settings.max_response).await;
        let settled = encoded.map_err(|(_, error)| CommitError::Response(error.map(Into::into)))?;
        Ok((settled.record.clone(), marked(settled.response, settled.record)))
    }

    fn values<'a>(&'a self, key: &'a [u8; 32], record: &'a [u8]) -> Values<'a> {
        values(&self.attempt, key, self.fence.unwrap_or(0), record)
    }

    fn limit(&self) -> Duration {
        self.engine.journal.as_deref().map(super::Journal::timeout).unwrap_or_default()
    }

    /// COMMIT was not sent, so nothing is committed, whatever becomes of the rollback.
    async fn roll_back<DB: JournalDatabase>(&self, tx: Transaction<'_, DB>) {
        if !matches!(timeout(self.limit(), tx.rollback()).await, Ok(Ok(()))) {
            tracing::warn!("a rollback got no answer; its connection is given up");
        }
        self.set(Progress::Untouched);
    }

    /// The key is another transaction's, or may be: databases at the higher isolation levels say so by an error.
    async fn collided(&self, refused: Option<sqlx::Error>) -> Result<Committed, CommitError> {
        let Some(journal) = self.engine.journal.as_deref() else { return Err(CommitError::NoJournal) };
        match (journal.find(&self.attempt.key).await, refused) {
            (Ok(Some(row)), _) => self.replay(row),
            (_, Some(refused)) => Err(CommitError::Database(refused)),
            (Ok(None), None) => Err(CommitError::Database(sqlx::Error::RowNotFound)),
            (Err(_), None) => Err(CommitError::Timeout),
        }
    }

    fn replay(&self, row: Row) -> Result<Committed, CommitError> {
        tracing::info!(idempotency.outcome = "rolled-back", "an earlier attempt is committed, and this one is not");
        self.set(Progress::Closed(row.clone()));
        if row.fingerprint != self.attempt.fingerprint {
            return Err(CommitError::KeyReused);
        }
        let response = record::answer(&row.record).unwrap_or_else(|problem| self.engine.settings.answer(problem));
        Ok(Committed { response: marked(response, row.record), replayed: true })
    }

    fn own_row(&self, record: Bytes) -> Row {
        let Attempt { fingerprint, token, ttl, .. } = self.attempt;
        Row { fingerprint, token, record, left: ttl }
    }
}

/// What became of the insertion.
enum Inserted {
    Ours {
        record: Bytes,
        response: Response,
    },
    /// A committed transaction has the key.
    Taken,
}

fn marked(mut response: Response, record: Bytes) -> Response {
    response.extensions_mut().insert(Recorded(record));
    response
}

pub(super) fn values<'a>(attempt: &'a Attempt, key: &'a [u8; 32], fence: u64, record: &'a [u8]) -> Values<'a> {
    Values {
        key,
        fingerprint: attempt.fingerprint.as_bytes(),
        token: attempt.token.as_bytes(),
        fence: i64::try_from(fence).unwrap_or(i64::MAX),
        record,
        ttl_millis: i64::try_from(attempt.ttl.as_millis()).unwrap_or(i64::MAX),
    }
}
