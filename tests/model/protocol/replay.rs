//! Replays a path of the search on a real store: every call must be answered as the model says.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotent_runtime::store::{
    Change, Expect, Head, Put, Seen, Stamp, State, Store, StoreError, StoreKey, Swapped, Token,
};

use super::steps::Call;

/// The calls to the register on one path of the search.
#[derive(Debug)]
pub(super) struct Path(Vec<Call>);

/// Long enough that nothing expires during a replay: on the path, time passes only where a command comes too late.
const LONG: Duration = Duration::from_secs(600);

impl Path {
    pub(super) fn new(calls: impl Iterator<Item = Call>) -> Self {
        Self(calls.collect())
    }

    /// The number of calls.
    pub(super) fn calls(&self) -> usize {
        self.0.len()
    }

    /// Whether the mark of a freed key is left. A store that is not shared may drop such a record at once.
    pub(super) fn frees(&self) -> bool {
        self.0.iter().any(|call| matches!(call, Call::Swap { put, .. } if put.head.state == State::Freed))
    }

    /// Makes every call on a store, with the record of this key. An error says what the store answered instead.
    pub(super) async fn replay<S: Store>(&self, store: &S, key: &StoreKey) -> Result<(), String> {
        let salt = Token::fresh();
        for (number, call) in self.0.iter().enumerate() {
            let failed = |error: StoreError| format!("call {number} failed: {error}");
            let now = store.now().await.map_err(failed)?;
            let is_right = match call {
                Call::Pass => true,
                Call::Lose => {
                    lose(store, key).await.map_err(failed)?;
                    true
                }
                Call::Read(seen) => {
                    expire(store, key, seen).await.map_err(failed)?;
                    is_same(&store.read(key).await.map_err(failed)?, seen, &salt)
                }
                Call::Swap { expect, put, seen, late, done } => {
                    expire(store, key, seen).await.map_err(failed)?;
                    let (expect, put) = (salted(expect, &salt), prepared(put, &salt, now, *late));
                    match store.swap(key, &expect, &put).await.map_err(failed)? {
                        Swapped::Done { fence } => *done && fence >= put.head.fence,
                        Swapped::Found(found) => !*done && !*late && is_same(&found, seen, &salt),
                        Swapped::Late => *late,
                        Swapped::Refused(_, error) => return Err(failed(error)),
                    }
                }
            };
            if !is_right {
                return Err(format!("call {number} was answered otherwise than {call:?}"));
            }
        }
        Ok(())
    }
}

/// Another token than that of the same attempt on another path.
fn salt_token(token: Token, salt: &Token) -> Token {
    let mut bytes = *salt.as_bytes();
    bytes[0] = token.as_bytes()[0];
    Token::from_bytes(bytes)
}

fn salted(expect: &Expect, salt: &Token) -> Expect {
    match *expect {
        Expect::Owner { token, before } => Expect::Owner { token: salt_token(token, salt), before },
        Expect::Exactly(Stamp { token, change }) => Expect::Exactly(Stamp { token: salt_token(token, salt), change }),
        Expect::Absent => Expect::Absent,
        Expect::Unreadable => Expect::Unreadable,
    }
}

fn prepared(put: &Put, salt: &Token, now: SystemTime, late: bool) -> Put {
    let mut put = put.clone();
    put.head.token = salt_token(put.head.token, salt);
    put.head.kept = if put.head.kept.is_zero() { Duration::ZERO } else { LONG };
    put.not_after = put.not_after.map(|_| if late { now - LONG } else { now + LONG });
    put
}

/// Whether a store shows what the model shows, apart from times and fences.
fn is_same(found: &Seen, model: &Seen, salt: &Token) -> bool {
    match (found, model) {
        (Seen::Record { head, body, .. }, Seen::Record { head: of_model, body: model_body, .. }) => {
            head.token == salt_token(of_model.token, salt)
                && head.change == of_model.change
                && head.state == of_model.state
                && head.fingerprint == of_model.fingerprint
                && body == model_body
        }
        (found, model) => found == model,
    }
}

/// What has expired in the model is dropped now.
async fn expire<S: Store>(store: &S, key: &StoreKey, model: &Seen) -> Result<(), StoreError> {
    if *model == Seen::Absent { lose(store, key).await } else { Ok(()) }
}

/// Drops the record.
async fn lose<S: Store>(store: &S, key: &StoreKey) -> Result<(), StoreError> {
    if let Seen::Record { head, .. } = store.read(key).await? {
        let dropped = Head {
            change: Change::FREED,
            state: State::Freed,
            kept: Duration::ZERO,
            lease: Duration::ZERO,
            ..head.clone()
        };
        store.swap(key, &Expect::Exactly(head.stamp()), &Put::new(dropped, Bytes::new())).await?;
    }
    Ok(())
}
