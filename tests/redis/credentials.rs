//! Passwords that change while a service runs: every new connection uses the current ones.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore, StoreError,
    store::{RedisCredentials, RedisStoreBuilder, RedisStoreError},
};
use support::{
    attempts::{attempt, served_again, win},
    redis_cluster::cluster_of_one,
    redis_server::RedisServer,
    redis_store::patient,
    sentinel::{MASTER, Sentinels},
};
use tokio::time::sleep;

/// The source of tokens: the current token, and how often it was asked for.
#[derive(Clone, Default)]
struct Tokens(Arc<(Mutex<String>, AtomicU32)>);

impl Tokens {
    fn rotate(&self, servers: &[RedisServer], token: &str) {
        for server in servers {
            server.set(&["ACL", "SETUSER", "app", "on", "resetpass", &format!(">{token}"), "~*", "&*", "+@all"]);
        }
        token.clone_into(&mut self.0.0.lock().expect("not poisoned"));
    }

    fn builder(&self) -> RedisStoreBuilder {
        let tokens = self.clone();
        patient().credentials_provider(move || {
            tokens.0.1.fetch_add(1, SeqCst);
            let token = tokens.0.0.lock().expect("not poisoned").clone();
            async move { Ok::<_, io::Error>(RedisCredentials::new("app", token)) }
        })
    }

    fn asked(&self) -> u32 {
        self.0.1.load(SeqCst)
    }
}

/// Closes the connections, as Redis does to a client whose token has expired.
fn disconnect(servers: &[RedisServer]) {
    for server in servers {
        server.set(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
}

async fn rotates(tokens: &Tokens, store: &RedisStore, servers: &[RedisServer]) {
    win(store, &attempt()).await;
    for token in ["second", "third"] {
        let asked = tokens.asked();
        tokens.rotate(servers, token);
        win(store, &attempt()).await;
        disconnect(servers);
        served_again(async || store.claim(&attempt()).await).await;
        assert!(tokens.asked() > asked, "the provider is asked before every connection");
    }
}

#[tokio::test]
async fn a_reconnect_uses_the_password_of_now() {
    let (tokens, servers) = (Tokens::default(), [RedisServer::start()]);
    tokens.rotate(&servers, "first");
    let url = format!("redis://app:of-the-url@127.0.0.1:{}/2", servers[0].port());
    let store = tokens.builder().connect(&url).await.expect("the provider's password counts");
    rotates(&tokens, &store, &servers).await;
    assert!(!format!("{:?}", tokens.builder()).contains("third"), "not even its debug output has one");
}

#[tokio::test]
async fn without_a_provider_the_old_password_is_no_outage() {
    let (tokens, servers) = (Tokens::default(), [RedisServer::start()]);
    tokens.rotate(&servers, "first");
    let store = patient().connect(&format!("redis://app:first@127.0.0.1:{}/", servers[0].port())).await;
    let store = store.expect("connects");
    win(&store, &attempt()).await;
    tokens.rotate(&servers, "second");
    disconnect(&servers);
    let start = Instant::now();
    loop {
        match store.claim(&attempt()).await {
            Err(StoreError::Forbidden(_)) => return,
            other => assert!(start.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_cluster_is_reached_with_the_password_of_now() {
    let (tokens, servers) = (Tokens::default(), [cluster_of_one(&[])]);
    tokens.rotate(&servers, "first");
    let store = tokens.builder().connect_cluster([servers[0].url()]).await.expect("connects");
    rotates(&tokens, &store, &servers).await;
}

#[tokio::test]
async fn the_master_of_sentinels_is_reached_with_the_password_of_now() {
    let (tokens, sentinels) = (Tokens::default(), Sentinels::start());
    tokens.rotate(&sentinels.servers, "first");
    let store = tokens.builder().connect_sentinel(sentinels.urls(), MASTER).await.expect("connects");
    rotates(&tokens, &store, &sentinels.servers).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_reported_without_what_it_said() {
    let server = RedisServer::start();
    let builder = patient()
        .credentials_provider(|| async { Err::<RedisCredentials, _>(io::Error::other("s3cret is not a password")) });
    let error = builder.connect(&server.url()).await.expect_err("there are none");
    assert!(matches!(error, RedisStoreError::Unreachable { .. }), "{error:?}");
    let shown = format!("{error:?}");
    assert!(shown.contains("credentials provider") && !shown.contains("s3cret"), "{shown}");
}
