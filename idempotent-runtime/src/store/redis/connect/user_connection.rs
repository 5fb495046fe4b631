//! A connection that the user has made. It reconnects by itself; here it is only used again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use redis::aio::ConnectionLike;

use super::{Boxed, Connect, Connection, OnLoss};
use crate::store::redis::failure::RedisFailure;

pub(in super::super) struct UserConnection<C> {
    connection: C,
    is_cluster: AtomicBool,
}

impl<C> UserConnection<C> {
    pub(in super::super) fn new(connection: C) -> Self {
        Self { connection, is_cluster: AtomicBool::new(false) }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connect for UserConnection<C> {
    fn connect(&self, _: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
        Box::pin(async move { Ok(Connection::other(self.connection.clone())) })
    }

    fn address(&self) -> String {
        "the given connection".to_owned()
    }

    /// In a cluster, the node that is asked first may be silent.
    fn steps(&self) -> u32 {
        if self.is_cluster() { 4 } else { 1 }
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster.load(Relaxed)
    }

    fn found_cluster(&self) {
        self.is_cluster.store(true, Relaxed);
    }
}
