//! The register over Redis: what each expectation compares, what a write keeps, and which command does it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotent_runtime::{
    RedisStore,
    store::{Change, Expect, Fingerprint, Head, Put, Seen, Stamp, State, Store, StoreKey, Swapped, Token},
};
use support::{attempts::attempt, programs::fetched_program, redis_server::RedisServer, redis_store::patient};

const RUNNING: State = State::Running { recovering: false };
const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60 * 60);

struct Scene {
    server: RedisServer,
    store: RedisStore,
    key: StoreKey,
    token: Token,
}

impl Scene {
    async fn new() -> Self {
        Self::on(RedisServer::start()).await
    }

    async fn on(server: RedisServer) -> Self {
        let store = patient().connect(&server.url()).await.expect("connects");
        Self { server, store, key: attempt().key, token: Token::fresh() }
    }

    fn head(&self, change: u64, state: State) -> Head {
        let kept = if state == State::Done { TTL } else { LEASE + TTL };
        let (change, fingerprint) = (Change::new(change), Fingerprint::from_bytes([1; 32]));
        Head { token: self.token, change, state, fence: 7, lease: LEASE, kept, fingerprint }
    }

    fn put(&self, change: u64, state: State, body: &'static str) -> Put {
        Put::new(self.head(change, state), Bytes::from_static(body.as_bytes()))
    }

    fn response(&self) -> Put {
        self.put(Change::COMPLETED.number(), State::Done, "response")
    }

    fn owner(&self, before: u64) -> Expect {
        Expect::Owner { token: self.token, before: Change::new(before) }
    }

    async fn swap(&self, expect: &Expect, put: &Put) -> Swapped {
        self.store.swap(&self.key, expect, put).await.expect("answers")
    }

    /// Writes, and returns the fence.
    async fn writes(&self, expect: &Expect, put: &Put) -> u64 {
        match self.swap(expect, put).await {
            Swapped::Done { fence } => fence,
            other => panic!("{expect:?}: {other:?}"),
        }
    }

    /// Checks that nothing is written, and returns the change that is there.
    async fn keeps(&self, expect: &Expect, put: &Put) -> u64 {
        match self.swap(expect, put).await {
            Swapped::Found(Seen::Record { head, .. }) => head.change.number(),
            other => panic!("{expect:?}: {other:?}"),
        }
    }

    async fn read(&self) -> (Head, Bytes, Duration) {
        match self.store.read(&self.key).await.expect("answers") {
            Seen::Record { head, body: Some(body), left: Some(left) } => (head, body, left),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_owner_writes_over_smaller_changes_of_its_own() {
    let scene = Scene::new().await;
    scene.writes(&Expect::Absent, &scene.put(1, RUNNING, "")).await;
    scene.writes(&scene.owner(5), &scene.put(5, RUNNING, "")).await;
    assert_eq!(scene.keeps(&scene.owner(4), &scene.put(4, RUNNING, "")).await, 5, "an older change");
    assert_eq!(scene.keeps(&scene.owner(5), &scene.put(5, RUNNING, "")).await, 5, "the same change");
    let stranger = Expect::Owner { token: Token::fresh(), before: Change::FREED };
    assert_eq!(scene.keeps(&stranger, &scene.put(6, RUNNING, "")).await, 5, "another attempt's");
    scene.writes(&scene.owner(Change::COMPLETED.number()), &scene.response()).await;
    let late = scene.put(6, RUNNING, "");
    assert_eq!(scene.keeps(&scene.owner(6), &late).await, Change::COMPLETED.number(), "a finished record");
}

#[tokio::test]
async fn exactly_one_write_is_replaced() {
    let scene = Scene::new().await;
    let exactly = |change| Expect::Exactly(Stamp { token: scene.token, change: Change::new(change) });
    scene.writes(&Expect::Absent, &scene.put(1, RUNNING, "")).await;
    assert_eq!(scene.keeps(&exactly(3), &scene.put(4, RUNNING, "")).await, 1);
    scene.writes(&exactly(1), &scene.put(3, RUNNING, "")).await;
    assert_eq!(scene.keeps(&exactly(1), &scene.put(4, RUNNING, "")).await, 3);
    scene.writes(&exactly(3), &scene.response()).await;
    scene
        .writes(&exactly(Change::COMPLETED.number()), &scene.put(Change::REPLACED.number(), State::Done, "other"))
        .await;
    assert_eq!(&scene.read().await.1[..], b"other");
}

#[tokio::test]
async fn an_absent_key_is_written_once() {
    let scene = Scene::new().await;
    assert!(matches!(scene.swap(&scene.owner(5), &scene.put(5, RUNNING, "")).await, Swapped::Found(Seen::Absent)));
    let claim = scene.put(1, RUNNING, "");
    let fence = scene.writes(&Expect::Absent, &claim).await;
    assert!(fence > 1_700_000_000_000_000, "raised to the server's clock: {fence}");
    assert_eq!(scene.read().await.0, Head { fence, ..claim.head.clone() });
    assert_eq!(scene.keeps(&Expect::Absent, &claim).await, 1);
    assert_eq!(scene.keeps(&Expect::Absent, &Put { urgent: true, ..claim }).await, 1, "by the script");
}

#[tokio::test]
async fn a_renewal_keeps_the_body_and_a_save_the_expiry() {
    let scene = Scene::new().await;
    scene.writes(&Expect::Absent, &scene.put(1, RUNNING, "")).await;
    scene.server.set(&["PEXPIRE", scene.key.as_str(), "60000"]);
    let save = Put { keep_expiry: true, ..scene.put(3, State::Running { recovering: true }, "steps") };
    scene.writes(&scene.owner(3), &save).await;
    let (_, steps, left) = scene.read().await;
    assert_eq!(&steps[..], b"steps");
    assert!(left <= Duration::from_secs(60), "{left:?}");
    scene.writes(&scene.owner(4), &Put { body: None, ..scene.put(4, State::Running { recovering: true }, "") }).await;
    let (_, steps, left) = scene.read().await;
    assert_eq!(&steps[..], b"steps");
    assert!(left > Duration::from_secs(60), "{left:?}");
}

#[tokio::test]
async fn a_write_that_comes_too_late_is_none() {
    let scene = Scene::new().await;
    let now = scene.store.now().await.expect("answers");
    let at = |last: SystemTime| Put { not_after: Some(last), ..scene.put(3, RUNNING, "") };
    assert!(matches!(scene.swap(&Expect::Absent, &at(now - Duration::from_secs(1))).await, Swapped::Late));
    assert_eq!(scene.store.read(&scene.key).await.expect("answers"), Seen::Absent);
    scene.writes(&Expect::Absent, &at(now + Duration::from_secs(10))).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_replaced_only_if_that_is_expected() {
    let scene = Scene::new().await;
    let name = scene.key.as_str();
    let claim = scene.put(1, RUNNING, "");
    for unreadable in [vec!["SET", name, "1X"], vec!["SET", name, ""], vec!["RPUSH", name, "value"]] {
        scene.server.set(&unreadable);
        for expect in [Expect::Absent, scene.owner(5)] {
            let swapped = scene.swap(&expect, &claim).await;
            assert!(matches!(swapped, Swapped::Found(Seen::Unreadable)), "{unreadable:?}, {expect:?}: {swapped:?}");
        }
        scene.writes(&Expect::Unreadable, &claim).await;
        assert_eq!(scene.keeps(&Expect::Unreadable, &claim).await, 1);
        scene.server.set(&["DEL", name]);
        assert!(matches!(scene.swap(&Expect::Unreadable, &claim).await, Swapped::Found(Seen::Absent)));
    }
}

/// The last byte that Lua compares is in the same place as in the library.
#[tokio::test]
async fn every_layout_is_compared_by_its_change() {
    let scene = Scene::new().await;
    for (change, state, body) in [
        (Change::FIRST, RUNNING, ""),
        (Change::TAKEOVER, State::Running { recovering: true }, ""),
        (Change::TAKEOVER, State::Running { recovering: true }, "steps"),
        (Change::COUNTED, RUNNING, ""),
        (Change::COMPLETED, State::Done, "response"),
        (Change::REPLACED, State::Done, "response"),
        (Change::FREED, State::Freed, ""),
    ] {
        let number = change.number();
        let put = scene.put(number, state, body);
        scene.server.set(&["DEL", scene.key.as_str()]);
        scene.writes(&Expect::Absent, &Put { urgent: true, ..put.clone() }).await;
        assert_eq!(scene.keeps(&scene.owner(number), &put).await, number, "{change:?}");
        let others = [number - 1, number + 1].map(|change| Stamp { token: scene.token, change: Change::new(change) });
        for other in others {
            assert_eq!(scene.keeps(&Expect::Exactly(other), &put).await, number, "{change:?}");
        }
        scene.writes(&Expect::Exactly(put.head.stamp()), &put).await;
        scene.writes(&scene.owner(number + 1), &put).await;
    }
}

/// The records that nearly every request writes. Lua and people read them by offset.
#[tokio::test]
async fn a_claim_a_takeover_and_a_response_have_a_head_of_89_bytes() {
    let scene = Scene::new().await;
    let length = || scene.server.command(&["STRLEN", scene.key.as_str()]);
    scene.writes(&Expect::Absent, &scene.put(1, RUNNING, "")).await;
    assert_eq!(length(), ":89");
    scene.writes(&scene.owner(2), &scene.put(2, State::Running { recovering: true }, "")).await;
    assert_eq!(length(), ":89");
    scene.writes(&scene.owner(Change::COMPLETED.number()), &scene.response()).await;
    assert_eq!(length(), format!(":{}", 89 + "response".len()));
}

#[tokio::test]
async fn a_server_that_compares_gets_no_script_for_a_response() {
    let scene = Scene::on(RedisServer::start_program(&fetched_program("valkey-9"), &[], &[])).await;
    let fence = scene.writes(&Expect::Absent, &scene.put(1, RUNNING, "")).await;
    let monitor = scene.server.monitor();
    let response = scene.response();
    let response = Put { head: Head { fence, ..response.head.clone() }, ..response };
    scene.writes(&scene.owner(Change::COMPLETED.number()), &response).await;
    assert_eq!(monitor.commands(), ["SET"]);
    assert_eq!(scene.read().await.1, "response");
}
