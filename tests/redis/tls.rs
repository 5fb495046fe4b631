//! Encrypted connections to a `redis-server` that speaks TLS only.

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{store::RedisStoreError, testing};
use support::{
    attempts::{attempt, warm_up, win},
    certificates::Certificates,
    free_port,
    redis_server::RedisServer,
    redis_store::patient,
};

/// A server, its URL for TLS, and the certificates.
fn encrypted(clients: &str) -> (RedisServer, String, Certificates) {
    let certificates = Certificates::new();
    let path = |file: &str| certificates.path(file).display().to_string();
    let port = free_port();
    let server = RedisServer::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("authority.pem"),
        "--tls-auth-clients",
        clients,
    ]);
    (server, format!("rediss://127.0.0.1:{port}/"), certificates)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_encrypted_connection_keeps_the_promises() {
    let (_server, url, certificates) = encrypted("no");
    let builder = patient().tls_authorities(certificates.read("authority.pem"));
    testing::conformance(builder.connect(&url).await.expect("trusts it")).await;
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let (_server, url, _) = encrypted("no");
    let error = patient().connect(&url).await.expect_err("the operating system does not know it");
    assert!(matches!(error, RedisStoreError::Unreachable { .. }), "{error:?}");
    let others = Certificates::new();
    let error = patient().tls_authorities(others.read("authority.pem")).connect(&url).await;
    assert!(matches!(error, Err(RedisStoreError::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let (_server, url, certificates) = encrypted("yes");
    let trusting = patient().tls_authorities(certificates.read("authority.pem"));
    trusting.clone().connect(&url).await.expect_err("it asks for a certificate");
    let identified = trusting.tls_identity(certificates.read("client.pem"), certificates.read("client.key"));
    assert!(!format!("{identified:?}").contains("PRIVATE"), "the key is not shown");
    win(&identified.connect(&url).await.expect("is known"), &attempt()).await;
}

#[tokio::test]
async fn an_encrypted_connection_comes_back_after_a_restart() {
    let (mut server, url, certificates) = encrypted("no");
    let store = patient().tls_authorities(certificates.read("authority.pem")).connect(&url).await;
    let store = store.expect("trusts it");
    warm_up(&store).await;
    server.restart();
    let start = std::time::Instant::now();
    while store.claim(&attempt()).await.is_err() {
        assert!(start.elapsed().as_secs() < 20, "it does not come back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    println!("served again after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_certificate_that_is_none_is_a_wrong_url_and_no_panic() {
    let (_server, url, _) = encrypted("no");
    let error = patient().tls_authorities("no PEM").connect(&url).await.expect_err("it is no certificate");
    assert!(matches!(error, RedisStoreError::Url(_) | RedisStoreError::Unreachable { .. }), "{error:?}");
}
