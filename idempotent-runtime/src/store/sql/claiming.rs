//! Runs the statements that make a claim, and interprets their results.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;

use super::{
    database::Parameter,
    error::Failure,
    parameters::{fingerprint, key, millis, number, running, token},
    present::{Columns, Present, Verdict},
    protocol::Protocol,
    retry::Retry,
    statements::RUNNING,
};
use crate::{
    sql::schema::DatabaseKind,
    store::{Acquired, ClaimOutcome, ClaimRequest, StoreError},
};

/// How long a claim keeps trying to get a row that another transaction has locked. After that the key counts as
/// running.
const LOCKED_FOR: Duration = Duration::from_millis(150);

impl Protocol {
    pub(super) async fn claim(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        let mut retry = Retry::within(LOCKED_FOR);
        loop {
            let present = match self.claim_or_look(attempt).await {
                Err(Failure::NotWritable(error)) => return self.without_writing(attempt, error).await,
                present => Present::read(present?),
            };
            let taken = match present.judge(attempt) {
                Verdict::Answer(outcome) => return Ok(self.noted(outcome)),
                // If the statement found no row, it has inserted one. Another attempt may have been faster here.
                Verdict::Free => self.write(&self.statements.insert_claim, self.first_claim(attempt)).await,
                Verdict::Dead => self.write(&self.statements.take_over, self.fresh(attempt)).await,
            };
            match taken {
                Ok(Some(row)) => {
                    if let Verdict::Answer(outcome) = Present::read(Some(row)).judge(attempt) {
                        return Ok(self.noted(outcome));
                    }
                }
                Ok(None) => {}
                Err(Failure::NotWritable(error)) => return self.without_writing(attempt, error).await,
                Err(failure) => return Err(failure.into()),
            }
            if !retry.pause().await {
                return self.last_look(attempt).await;
            }
        }
    }

    /// The outcome for an attempt that did not get the row in time. On a slow database another attempt may just have
    /// inserted the row, so it is read once more.
    async fn last_look(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        Ok(match self.look(&attempt.key).await?.judge(attempt) {
            Verdict::Answer(outcome) => self.noted(outcome),
            // A transaction has locked the row: it belongs to the attempt whose lease is over, or to that attempt's
            // commit.
            Verdict::Free | Verdict::Dead => ClaimOutcome::Running { left: Duration::ZERO },
        })
    }

    /// The existing row, or the one that is inserted now.
    async fn claim_or_look(&self, attempt: &ClaimRequest) -> Result<Option<Columns>, Failure> {
        match self.kind {
            #[cfg(feature = "sqlx-sqlite")]
            DatabaseKind::Sqlite => self.database.read(&self.statements.look, vec![key(&attempt.key)]).await,
            #[cfg(feature = "sqlx-postgres")]
            DatabaseKind::Postgres => self.write(&self.statements.claim, self.fresh(attempt)).await,
        }
    }

    /// The database cannot be written now. A key that has a record is still answered, so that replays go on.
    async fn without_writing(&self, attempt: &ClaimRequest, error: StoreError) -> Result<ClaimOutcome, StoreError> {
        match (self.look(&attempt.key).await?.judge(attempt), &error) {
            // A standby may lag behind. A claim that looks like ours there may have been taken over.
            (Verdict::Free, _) | (Verdict::Answer(ClaimOutcome::Acquired(_)), StoreError::Refused(_)) => Err(error),
            (Verdict::Answer(outcome), _) => Ok(outcome),
            // The attempt died, and the key cannot be taken over now. An error would claim that nothing is known of the
            // key.
            (Verdict::Dead, _) => Ok(ClaimOutcome::Running { left: Duration::ZERO }),
        }
    }

    fn fresh(&self, attempt: &ClaimRequest) -> Vec<Parameter> {
        let ClaimRequest { lease, .. } = attempt;
        let (fence, kept) = (number(self.least_fence()), millis(attempt.retention()));
        vec![key(&attempt.key), fingerprint(attempt), token(attempt), fence, millis(*lease), kept]
    }

    fn first_claim(&self, attempt: &ClaimRequest) -> Vec<Parameter> {
        running(attempt, self.least_fence(), RUNNING, &Bytes::new())
    }

    /// The smallest value for the next fencing token. SQLite's clock has only milliseconds; it is the clock of this
    /// machine, which the process reads itself.
    fn least_fence(&self) -> u64 {
        let next = self.last_fence.load(Relaxed).saturating_add(1);
        match self.kind {
            #[cfg(feature = "sqlx-sqlite")]
            DatabaseKind::Sqlite => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                next.max(u64::try_from(since.as_micros()).unwrap_or(0))
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabaseKind::Postgres => next,
        }
    }

    fn noted(&self, outcome: ClaimOutcome) -> ClaimOutcome {
        if let ClaimOutcome::Acquired(Acquired { fence, .. }) = &outcome {
            self.last_fence.fetch_max(*fence, Relaxed);
        }
        outcome
    }
}
