//! The server did what it was asked, and the answer got lost: a repetition with the same token must not conflict with
//! itself, whatever the call.

use std::{future::Future, time::Instant};

use idempotent_runtime::{
    RedisStore, Store, StoreError, Takeover,
    store::{Acquired, Attempt, ClaimOutcome, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome},
};
use support::{
    attempts::{attempt, dead, rival, warm_up, win},
    proxy::Proxy,
    redis_server::RedisServer,
};

struct Line {
    store: RedisStore,
    proxy: Proxy,
    _server: RedisServer,
}

impl Line {
    async fn new() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.address()).await;
        let store = RedisStore::connect(&proxy.redis_url()).await.expect("connects");
        warm_up(&store).await;
        Self { store, proxy, _server: server }
    }

    /// Makes a call whose answer is cut off, then the same call again.
    async fn twice<T, F>(&self, call: impl Fn() -> F) -> T
    where
        T: std::fmt::Debug,
        F: Future<Output = Result<T, StoreError>>,
    {
        self.proxy.cut_next_answer();
        let start = Instant::now();
        let lost = call().await.expect_err("its answer is cut off");
        assert!(matches!(lost, StoreError::Unreachable(_)), "{lost:?}");
        assert!(start.elapsed().as_millis() < 700, "it took {:?} to see it", start.elapsed());
        assert_eq!(self.proxy.answers_cut(), 1);
        call().await.expect("there is a connection again")
    }

    /// The attempt's claim runs, and it is the only one.
    async fn runs(&self, attempt: &Attempt) {
        assert!(matches!(self.store.claim(&rival(attempt)).await, Ok(ClaimOutcome::Running { .. })));
    }
}

#[tokio::test]
async fn claim() {
    let line = Line::new().await;
    let first = attempt();
    let answer = line.twice(|| line.store.claim(&first)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: false, .. })), "{answer:?}");
    line.runs(&first).await;
}

#[tokio::test]
async fn takeover() {
    let line = Line::new().await;
    let first = dead(&line.store).await;
    let second = rival(&first);
    // A takeover is two round trips: the answer to the first one is let through, the second is cut off.
    let cut_second = async {
        line.proxy.cut_second_answer();
        line.store.claim(&second).await
    };
    assert!(matches!(cut_second.await, Err(StoreError::Unreachable(_))));
    assert_eq!(line.proxy.answers_cut(), 1);
    let third = rival(&first);
    assert!(matches!(line.store.claim(&third).await, Ok(ClaimOutcome::Running { .. })), "the takeover had its effect");
    let repeated = line.store.claim(&second).await.expect("answers");
    assert!(matches!(repeated, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{repeated:?}");
    assert_eq!(line.store.claim(&second).await.expect("answers"), repeated, "and the fence stays");
}

#[tokio::test]
async fn first_answer_of_a_takeover() {
    let line = Line::new().await;
    let first = dead(&line.store).await;
    let second = rival(&first);
    let answer = line.twice(|| line.store.claim(&second)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
    line.runs(&second).await;
}

#[tokio::test]
async fn refused_takeover() {
    let line = Line::new().await;
    let first = dead(&line.store).await;
    let mut careful = rival(&first);
    careful.takeover = Takeover::Refuse;
    assert_eq!(line.twice(|| line.store.claim(&careful)).await, ClaimOutcome::Died);
}

#[tokio::test]
async fn complete() {
    let line = Line::new().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let answer = line.twice(|| line.store.complete(&first, fence, "record".into())).await;
    assert_eq!(answer, CompleteOutcome::AlreadyStored);
    assert_eq!(line.store.claim(&rival(&first)).await.expect("answers"), ClaimOutcome::Done("record".into()));
}

#[tokio::test]
async fn renew() {
    let line = Line::new().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let held = Acquired::new(fence, false);
    assert_eq!(line.twice(|| line.store.renew(&first, &held)).await, RenewOutcome::Renewed);
    line.runs(&first).await;
}

/// It is two commands: the first finds that the claim is lost and creates nothing.
#[tokio::test]
async fn first_answer_of_a_renewal_of_a_lost_claim() {
    let line = Line::new().await;
    let first = attempt();
    let held = Acquired::new(7, false);
    assert_eq!(line.twice(|| line.store.renew(&first, &held)).await, RenewOutcome::Recreated);
    assert_eq!(win(&line.store, &first).await, 7);
}

/// It was created by the first renewal and so is there for the second.
#[tokio::test]
async fn renewal_of_a_lost_claim() {
    let line = Line::new().await;
    let first = attempt();
    let held = Acquired::new(7, false);
    line.store.renew(&attempt(), &held).await.expect("answers");
    line.proxy.cut_second_answer();
    assert!(matches!(line.store.renew(&first, &held).await, Err(StoreError::Unreachable(_))));
    assert_eq!(line.store.renew(&first, &held).await.expect("answers"), RenewOutcome::Renewed);
    assert_eq!(win(&line.store, &first).await, 7);
}

#[tokio::test]
async fn save_steps() {
    let line = Line::new().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    assert_eq!(line.twice(|| line.store.save_steps(&first, fence, "steps".into())).await, SaveOutcome::Saved);
    line.runs(&first).await;
    line.store.abandon(&first).await.expect("answers");
    match line.store.claim(&rival(&first)).await.expect("answers") {
        ClaimOutcome::Acquired(held) => assert_eq!((held.recovering, &held.steps[..]), (true, b"steps".as_slice())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn release() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert_eq!(line.twice(|| line.store.release(&first)).await, ReleaseOutcome::NotOurs);
    assert_eq!(line.store.lookup(&first.key).await.expect("answers"), Lookup::Absent);
}

#[tokio::test]
async fn release_of_a_takeover() {
    let line = Line::new().await;
    let second = rival(&dead(&line.store).await);
    win(&line.store, &second).await;
    assert_eq!(line.twice(|| line.store.release(&second)).await, ReleaseOutcome::Ended);
    let answer = line.store.claim(&rival(&second)).await.expect("answers");
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
}

#[tokio::test]
async fn a_repeated_release_spares_the_next_claim() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    line.proxy.cut_next_answer();
    line.store.release(&first).await.expect_err("its answer is cut off");
    let second = rival(&first);
    win(&line.store, &second).await;
    assert_eq!(line.store.release(&first).await.expect("answers"), ReleaseOutcome::NotOurs);
    line.runs(&second).await;
}

#[tokio::test]
async fn abandon() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert_eq!(line.twice(|| line.store.abandon(&first)).await, ReleaseOutcome::Ended);
    let answer = line.store.claim(&rival(&first)).await.expect("answers");
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
}

#[tokio::test]
async fn look() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert!(matches!(line.twice(|| line.store.lookup(&first.key)).await, Lookup::Running { .. }));
}
