//! The server carried out a call, and its answer got lost. If the call is repeated with the same token, it must not
//! conflict with itself. This holds for every call.

mod cluster;
mod plain;

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore, StoreError,
    store::{Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome},
};
use support::{
    attempts::{attempt, dead, rival, warm_up, win},
    proxy::Proxy,
    redis_cluster::cluster_of_one,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::time::sleep;

/// A store behind a proxy.
struct Line {
    store: RedisStore,
    proxy: Proxy,
    /// Whether the client repeats by itself a call that got no answer.
    repeats_itself: bool,
    _server: RedisServer,
}

impl Line {
    async fn plain() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.address()).await;
        let store = patient().connect(&proxy.redis_url()).await.expect("connects");
        warm_up(&store).await;
        Self { store, proxy, repeats_itself: false, _server: server }
    }

    /// The node announces the proxy as its own address, so that the client knows no other address.
    async fn to_a_cluster() -> Self {
        let server = cluster_of_one(&[]);
        let proxy = Proxy::to(server.address()).await;
        server.set(&["CONFIG", "SET", "cluster-announce-port", &proxy.address().port().to_string()]);
        let store = patient().connect_cluster([proxy.redis_url()]).await.expect("connects");
        warm_up(&store).await;
        Self { store, proxy, repeats_itself: true, _server: server }
    }

    /// Makes a call whose answer is cut off, and returns the result of the repeated call. The client or the test
    /// repeats it.
    async fn repeated<T, F>(&self, call: impl Fn() -> F) -> T
    where
        T: Debug,
        F: Future<Output = Result<T, StoreError>>,
    {
        self.repeated_after(0, call).await
    }

    /// The same for the last of several round trips.
    async fn repeated_after<T, F>(&self, round_trips: u32, call: impl Fn() -> F) -> T
    where
        T: Debug,
        F: Future<Output = Result<T, StoreError>>,
    {
        let cut = self.proxy.answers_cut();
        self.proxy.cut_answer_after(round_trips);
        let start = Instant::now();
        let mut answer = call().await;
        if self.repeats_itself {
            for _ in 0..400 {
                if answer.is_ok() {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
                answer = call().await;
            }
        } else {
            let lost = answer.expect_err("its answer is cut off");
            assert!(matches!(lost, StoreError::Unreachable(_)), "{lost:?}");
            assert!(start.elapsed() < PATIENCE / 2, "it took {:?} to see it", start.elapsed());
            answer = call().await;
        }
        assert_eq!(self.proxy.answers_cut(), cut + 1);
        answer.expect("there is a connection again")
    }

    /// Checks that the attempt's claim runs, and that another attempt gets none.
    async fn runs(&self, attempt: &ClaimRequest) {
        assert!(matches!(self.store.claim(&rival(attempt)).await, Ok(ClaimOutcome::Running { .. })));
    }
}

async fn claim_once(line: Line) {
    let first = attempt();
    let answer = line.repeated(|| line.store.claim(&first)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: false, .. })), "{answer:?}");
    line.runs(&first).await;
}

async fn take_over_once(line: Line) {
    let second = rival(&dead(&line.store).await);
    let answer = line.repeated(|| line.store.claim(&second)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
    line.runs(&second).await;
}

async fn complete_once(line: Line) {
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let answer = line.repeated(|| line.store.complete(&first, fence, "record".into())).await;
    assert_eq!(answer, CompleteOutcome::AlreadyStored);
    assert_eq!(line.store.claim(&rival(&first)).await.expect("answers"), ClaimOutcome::Done("record".into()));
}

async fn renew_once(line: Line) {
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let held = Acquired::new(fence, false);
    assert_eq!(line.repeated(|| line.store.renew(&first, &held)).await, RenewOutcome::Renewed);
    line.runs(&first).await;
}

/// A release reads the record and then writes it. Either answer may be lost.
async fn release_once(line: Line) {
    for (round_trips, outcome) in [(0, ReleaseOutcome::Ended), (1, ReleaseOutcome::NotOurs)] {
        let first = attempt();
        win(&line.store, &first).await;
        assert_eq!(line.repeated_after(round_trips, || line.store.release(&first)).await, outcome);
        assert_eq!(line.store.lookup(&first.key).await.expect("answers"), Lookup::Absent);
    }
}

async fn abandon_once(line: Line) {
    let first = attempt();
    win(&line.store, &first).await;
    assert_eq!(line.repeated_after(1, || line.store.abandon(&first)).await, ReleaseOutcome::Ended);
    let answer = line.store.claim(&rival(&first)).await.expect("answers");
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
}
