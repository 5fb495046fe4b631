//! One call of the store: its deadline, its round trips, and what a missing answer means for the connection.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{Current, REPLACED_AT_MOST_EVERY, Supervisor};
use crate::store::redis::failure::RedisFailure;

/// After this many calls in a row without an answer, the connection counts as dead. A network that drops packets
/// reports no error.
const MISSES: u32 = 3;

/// A call that its caller drops sooner than this is not counted, because it says nothing about the server.
const MIN_MISS: Duration = Duration::from_millis(20);

/// One call of the store.
#[derive(Clone, Copy)]
pub(in super::super) struct Call<'a> {
    pub(in super::super) supervisor: &'a Arc<Supervisor>,
    pub(in super::super) started: Instant,
}

impl Call<'_> {
    /// A fencing token for a claim. If this machine's clocks disagree, the server's clock is read first.
    pub(in super::super) async fn fence(self) -> Result<u64, RedisFailure> {
        let clock = &self.supervisor.clock;
        if clock.stepped(self.started) {
            Box::pin(self.supervisor.ask_time()).await?;
        } else if clock.is_stale(self.started) {
            self.supervisor.ask_time_in_background();
        }
        Ok(clock.fence(self.started))
    }

    /// One round trip. If it fails or is dropped, it is unknown whether it had its effect.
    pub(in super::super) async fn send(self, command: &Cmd) -> Result<Value, RedisFailure> {
        let current = self.supervisor.current().await?;
        self.send_over(&current, command).await
    }

    /// As [`send`](Self::send), over this connection.
    pub(in super::super) async fn send_over(
        self,
        current: &Arc<Current>,
        command: &Cmd,
    ) -> Result<Value, RedisFailure> {
        let mut sent = Sent { supervisor: self.supervisor, current, since: self.started, answered: false };
        let answer = current.connection.send(command).await;
        if answer != Err(RedisFailure::TimedOut) {
            sent.answered = true;
        }
        if let Err(cause) = &answer {
            // It is a replica now, most likely after a failover.
            let replica = cause.is("READONLY") && current.since.elapsed() > REPLACED_AT_MOST_EVERY;
            if replica || cause.breaks_connection() {
                self.supervisor.failed(current, cause);
            }
        }
        answer
    }
}

/// Counts calls in a row that got no answer. Their future is dropped, by our deadline or by a caller with a shorter
/// one.
struct Sent<'a> {
    supervisor: &'a Arc<Supervisor>,
    current: &'a Arc<Current>,
    since: Instant,
    answered: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if self.answered {
            // If there are several servers, the others may still answer.
            if self.current.misses.load(Relaxed) > 0 && !self.supervisor.connect.is_cluster() {
                self.current.misses.store(0, Relaxed);
            }
        } else if self.since.elapsed() >= MIN_MISS.min(self.supervisor.timeouts.response)
            && self.current.misses.fetch_add(1, Relaxed) + 1 >= MISSES
        {
            self.supervisor.failed(self.current, &RedisFailure::TimedOut);
        }
    }
}
