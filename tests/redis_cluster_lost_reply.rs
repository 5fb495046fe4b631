//! A cluster client repeats what it got no answer to, without a word: the repeat meets what the first one did, and must
//! not take it for another's.

use std::future::Future;

use idempotent_runtime::{
    RedisStore, Store, StoreError,
    store::{Acquired, Attempt, ClaimOutcome, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome},
};
use support::{
    attempts::{attempt, dead, rival, warm_up, win},
    proxy::Proxy,
    redis_cluster::cluster_of_one,
    redis_server::RedisServer,
};

struct Line {
    store: RedisStore,
    proxy: Proxy,
    _server: RedisServer,
}

impl Line {
    /// The node gives the proxy as its own address, so that the client knows no other.
    async fn new() -> Self {
        let server = cluster_of_one(&[]);
        let proxy = Proxy::to(server.address()).await;
        server.set(&["CONFIG", "SET", "cluster-announce-port", &proxy.address().port().to_string()]);
        let store = RedisStore::connect_cluster([proxy.redis_url()]).await.expect("connects");
        warm_up(&store).await;
        Self { store, proxy, _server: server }
    }

    /// Makes a call whose answer is cut off, and makes it again for as long as the client does not do so itself.
    async fn repeated<T, F>(&self, call: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.proxy.cut_next_answer();
        let mut answer = call().await;
        for _ in 0..20 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = call().await;
        }
        assert_eq!(self.proxy.answers_cut(), 1);
        answer.expect("there is a connection again")
    }

    async fn runs(&self, attempt: &Attempt) {
        assert!(matches!(self.store.claim(&rival(attempt)).await, Ok(ClaimOutcome::Running { .. })));
    }
}

#[tokio::test]
async fn a_claim_meets_itself() {
    let line = Line::new().await;
    let first = attempt();
    let answer = line.repeated(|| line.store.claim(&first)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: false, .. })), "{answer:?}");
    line.runs(&first).await;
}

#[tokio::test]
async fn a_takeover_meets_itself() {
    let line = Line::new().await;
    let second = rival(&dead(&line.store).await);
    let answer = line.repeated(|| line.store.claim(&second)).await;
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
    line.runs(&second).await;
}

#[tokio::test]
async fn a_completion_meets_itself() {
    let line = Line::new().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let answer = line.repeated(|| line.store.complete(&first, fence, "record".into())).await;
    assert_eq!(answer, CompleteOutcome::AlreadyStored);
    assert_eq!(line.store.claim(&rival(&first)).await.expect("answers"), ClaimOutcome::Done("record".into()));
}

#[tokio::test]
async fn a_renewal_meets_itself() {
    let line = Line::new().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    let held = Acquired::new(fence, false);
    assert_eq!(line.repeated(|| line.store.renew(&first, &held)).await, RenewOutcome::Renewed);
    line.runs(&first).await;
}

#[tokio::test]
async fn a_release_meets_a_free_key() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert_eq!(line.repeated(|| line.store.release(&first)).await, ReleaseOutcome::NotOurs);
    assert_eq!(line.store.lookup(&first.key).await.expect("answers"), Lookup::Absent);
}

#[tokio::test]
async fn an_abandoned_lease_stays_abandoned() {
    let line = Line::new().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert_eq!(line.repeated(|| line.store.abandon(&first)).await, ReleaseOutcome::Ended);
    let answer = line.store.claim(&rival(&first)).await.expect("answers");
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
}
