//! [`SqlStore`] as a journal: the row of the claim takes the response, within the user's own transaction.
//!
//! Several questions need no query here, because the answer to the claim has answered them. The row of a running
//! attempt holds no response. An attempt that counts as dead cannot commit, because the row then has another token.

use std::{future::ready, time::Duration};

use bytes::Bytes;

use super::{Call, Journal, Row, Unanswered};
use crate::{
    protocol::{Head, Seen, State},
    sql::schema::Schema,
    store::{ClaimRequest, SqlStore, StoreError, StoreKey},
};

impl Journal for SqlStore {
    fn find<'a>(&'a self, _: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(ready(Ok(None)))
    }

    fn winner<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(async move { row(self.within(self.seen(key)).await?) })
    }

    fn settle<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Row>> {
        Box::pin(async move { row(self.within(self.settled(&attempt.key)).await?) })
    }

    /// Nothing to do: the completion that follows stores the response, and no other attempt can commit meanwhile.
    fn seal<'a>(&'a self, _: &'a ClaimRequest, _: u64, _: &'a Bytes) -> Call<'a, Option<Row>> {
        Box::pin(ready(Ok(None)))
    }

    fn settle_steps<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Bytes>> {
        Box::pin(async move {
            Ok(match self.within(self.settled(&attempt.key)).await? {
                Seen::Record { head: Head { token, state: State::Running { .. }, .. }, body, .. }
                    if token == attempt.token =>
                {
                    Some(body.unwrap_or_default())
                }
                _ => None,
            })
        })
    }

    fn is_the_store(&self) -> bool {
        true
    }

    fn timeout(&self) -> Duration {
        self.parts().1
    }

    fn schema(&self) -> &Schema {
        self.parts().0
    }
}

impl SqlStore {
    async fn within<T>(&self, asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, Unanswered> {
        let answered = tokio::time::timeout(Journal::timeout(self), asking).await;
        answered.unwrap_or(Err(StoreError::Timeout)).map_err(|error| match error {
            StoreError::Timeout => Unanswered::Timeout,
            error => Unanswered::Failed(error.into()),
        })
    }
}

fn row(seen: Seen) -> Result<Option<Row>, Unanswered> {
    match seen {
        Seen::Record { head: Head { state: State::Done, fingerprint, token, .. }, body, left } => {
            Ok(Some(Row { fingerprint, token, record: body.unwrap_or_default(), left: left.unwrap_or_default() }))
        }
        Seen::Record { .. } | Seen::Absent => Ok(None),
        Seen::Unreadable => Err(Unanswered::Unreadable("the key has a row that this store did not write".into())),
    }
}
