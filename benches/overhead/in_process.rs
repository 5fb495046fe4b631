//! Sends requests to a router in this process, without sockets, on one thread.

use axum::{Router, http::StatusCode};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::{
    case::{Backend, Case, Phase},
    payment::{key, request},
    variants::router,
};

/// The number of keys that replays use in turn.
const KNOWN_KEYS: u64 = 64;

pub(crate) fn run(case: Case, count: u64, redis: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Redis answers many requests at the same time, as it does under load. In memory nothing waits.
    let senders = if case.backend == Backend::Redis { 64 } else { 1 };
    runtime.block_on(async {
        let router = router(case.variant, case.backend, redis).await;
        // Runs that share one Redis must use different keys.
        let salt = u64::from(std::process::id());
        if case.phase == Phase::Replay {
            send(&router, 1, (0..KNOWN_KEYS).map(|n| key(salt, n)).collect()).await;
        }
        let keys = (0..count).map(|n| if case.phase == Phase::Replay { n % KNOWN_KEYS } else { n });
        send(&router, senders, keys.map(|n| key(salt, n)).collect()).await;
    });
}

async fn send(router: &Router, senders: usize, keys: Vec<String>) {
    let mut tasks = JoinSet::new();
    for share in keys.chunks(keys.len().div_ceil(senders)) {
        let (router, share) = (router.clone(), share.to_vec());
        tasks.spawn(async move {
            for key in share {
                let response = router.clone().oneshot(request(&key)).await.unwrap();
                assert_eq!(response.status(), StatusCode::CREATED);
                response.into_body().collect().await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
