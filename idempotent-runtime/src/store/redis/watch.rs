//! Notices that a server was restarted or has evicted records. Both lose claims, and no call reports them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch::Receiver,
    task::{AbortHandle, spawn},
    time::sleep,
};

use super::{
    check::ServerInfo,
    supervisor::{Status, Supervisor},
};
use crate::telemetry;

/// Asks every server at intervals, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(AbortHandle);

impl Watch {
    pub(super) fn start(redis: Arc<Supervisor>, nodes: Vec<(Option<String>, ServerInfo)>, every: Duration) -> Self {
        let mut seen = LastSeen::default();
        seen.compare(&redis.connect.address(), nodes);
        Self(spawn(watch(redis, seen, every)).abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(redis: Arc<Supervisor>, mut seen: LastSeen, every: Duration) {
    let address = redis.connect.address();
    let mut changes = redis.changes();
    loop {
        tokio::select! {
            () = sleep(every) => {}
            () = connected(&mut changes) => {}
        }
        // An outage is noticed by the calls themselves.
        let info = redis.within(|call| async move { call.send(&::redis::cmd("INFO")).await });
        if let Ok(info) = info.await {
            seen.compare(&address, ServerInfo::read(&info));
        }
    }
}

/// Resolves when there is a new connection.
async fn connected(status: &mut Receiver<Status>) {
    let changed = async {
        status.changed().await?;
        status.wait_for(|status| matches!(status, Status::Up(_))).await.map(drop)
    };
    if changed.await.is_err() {
        // The supervisor is gone.
        std::future::pending::<()>().await;
    }
}

/// The last answer of each server. When a cluster grows and shrinks, a few old entries remain.
#[derive(Default)]
struct LastSeen(HashMap<String, (String, u64)>);

impl LastSeen {
    /// Reports what has changed since the last time.
    fn compare(&mut self, address: &str, nodes: Vec<(Option<String>, ServerInfo)>) {
        for (node, ServerInfo { run_id, evicted, .. }) in nodes {
            let node = node.unwrap_or_else(|| address.to_owned());
            let before = self.0.insert(node.clone(), (run_id.clone(), evicted));
            let Some((process, count)) = before else { continue };
            let restarted = process != run_id;
            if restarted {
                telemetry::redis::restarted(&node);
            }
            // A new process counts from zero.
            let more = if restarted { evicted } else { evicted.saturating_sub(count) };
            if more > 0 {
                telemetry::redis::evicted(&node, more);
            }
        }
    }
}
