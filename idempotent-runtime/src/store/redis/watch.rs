//! Notices that a server was restarted or evicted records: both forget claims, and neither is an error of any call.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::{AbortHandle, spawn},
    time::sleep,
};

use super::{checkup::Facts, supervisor::Supervisor};
use crate::telemetry;

/// Asks every server now and then, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(AbortHandle);

impl Watch {
    pub(super) fn start(redis: Supervisor, nodes: Vec<(Option<String>, Facts)>, every: Duration) -> Self {
        let mut known = Known::default();
        known.compare(&redis.address(), nodes);
        Self(spawn(watch(redis, known, every)).abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(redis: Supervisor, mut known: Known, every: Duration) {
    let address = redis.address();
    let mut changes = redis.changes();
    loop {
        tokio::select! {
            () = sleep(every) => {}
            () = changes.connected() => {}
        }
        // An outage is seen by the calls themselves.
        if let Ok(info) = redis.within(redis.ask(&redis::cmd("INFO"))).await {
            known.compare(&address, Facts::read(&info));
        }
    }
}

/// What each server said of itself when it was asked last. A cluster that grows and shrinks leaves a few lines behind.
#[derive(Default)]
struct Known(HashMap<String, (String, u64)>);

impl Known {
    /// Tells what is new since the last time.
    fn compare(&mut self, address: &str, nodes: Vec<(Option<String>, Facts)>) {
        for (node, Facts { run_id, evicted, .. }) in nodes {
            let node = node.unwrap_or_else(|| address.to_owned());
            let before = self.0.insert(node.clone(), (run_id.clone(), evicted));
            let Some((process, count)) = before else { continue };
            let restarted = process != run_id;
            if restarted {
                telemetry::redis::restarted(&node);
            }
            // Another process counts from nothing.
            let more = if restarted { evicted } else { evicted.saturating_sub(count) };
            if more > 0 {
                telemetry::redis::evicted(&node, more);
            }
        }
    }
}
