//! Services that are slow, break off, or are no such service: the program says so in a sentence and ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use support::certificates::Certificates;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    shop,
    tool::{self, Run},
};

const BODY: &str = r#"{"account":"a","amount":1}"#;

/// What a service does with each connection after it has read something.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It sends this, and then keeps the connection open.
    Says(&'static str),
    /// It closes the connection.
    Closes,
    /// It sends this for ever.
    SaysForEver(&'static str, &'static str),
    /// It sends one byte a second.
    IsSlow,
    /// It does not even accept.
    IsGone,
}

async fn start(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if matches!(manner, Manner::IsGone) {
        return address;
    }
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, manner));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    if stream.read(&mut buffer).await? == 0 {
        return Ok(());
    }
    match manner {
        Manner::Says(text) => {
            stream.write_all(text.as_bytes()).await?;
            sleep(Duration::from_secs(60)).await;
        }
        Manner::SaysForEver(head, text) => {
            stream.write_all(head.as_bytes()).await?;
            let much = text.repeat(4096);
            loop {
                stream.write_all(much.as_bytes()).await?;
            }
        }
        Manner::IsSlow => {
            for byte in b"HTTP/1.1 201 Created" {
                stream.write_all(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::Closes | Manner::IsGone => {}
    }
    Ok(())
}

async fn check(url: &str, more: &[&str]) -> Run {
    let options = [url, "--yes", "--body", BODY, "--format", "json"];
    tool::run(&[&options[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_service_is_told_apart_and_ends_the_run() {
    let chunk = "1000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let cases = [
        (Manner::IsSlow, "did not finish its response within 1s"),
        (Manner::Closes, "closed the connection without a whole response"),
        (
            Manner::Says("HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf"),
            "did not finish its response within 1s",
        ),
        (
            Manner::Says("HTTP/1.1 301 Moved\r\nLocation: /v2/payments\r\nContent-Length: 0\r\n\r\n"),
            "redirects to /v2/payments",
        ),
        (
            Manner::Says("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
            "gets 404, with an HTML page. Is the URL right?",
        ),
        (Manner::Says("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "does not speak HTTP/1.1"),
        (Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), "does not speak HTTP/1.1"),
        (Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "longer than 8192 KiB or has no end"),
        (Manner::Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "does not speak HTTP/1.1"),
        (Manner::SaysForEver("HTTP/1.1 200 OK\r\n\r\n", "endless "), "has no end"),
        (Manner::SaysForEver("HTTP/1.1 200 OK\r\n", "X-Line: endless\r\n"), "does not speak HTTP/1.1"),
        (
            Manner::SaysForEver("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\nendless.\r\n"),
            "has no end",
        ),
        (
            Manner::SaysForEver("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
            "does not speak HTTP/1.1",
        ),
        (Manner::SaysForEver("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "again and again"),
    ];
    for (manner, sentence) in cases {
        let address = start(manner).await;
        // Only what ends by the time-out has a short one.
        let timeout = if sentence.contains("within 1s") { "1s" } else { "60s" };
        let run = check(&format!("http://{address}/payments"), &["--timeout", timeout]).await;
        assert_eq!(run.status, 2, "{manner:?}: {}{}", run.output, run.errors);
        assert!(run.errors.contains(sentence), "{manner:?}: {}", run.errors);
        assert_eq!(run.output, "", "{manner:?}");
    }
}

#[tokio::test]
async fn a_service_that_nobody_started_ends_the_run() {
    let address = start(Manner::IsGone).await;
    let run = check(&format!("http://{address}/payments"), &[]).await;
    assert_eq!(run.status, 2);
    assert!(run.errors.contains("cannot be reached at"), "{}", run.errors);
}

/// A page that is always the same, with 200: nothing of it shows a run, so hardly a case is about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_html_passes_no_case_that_is_about_one_run() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
    let address = start(Manner::Says(page)).await;
    let run = check(&format!("http://{address}/"), &[]).await;
    for id in ["replay/1", "replay/3", "at-once/2", "faults/3"] {
        assert_eq!(run.cases()[id].0, "not-observable", "{id}");
    }
    assert_eq!(run.cases()["keys/1"].0, "differs");
}

/// It answers the first requests and then closes every connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_fails_in_between_is_told_case_by_case() {
    let shop = shop::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut passed = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            passed += 1;
            if passed <= 20 {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(shop).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        }
    });
    let run = check(&format!("http://{address}/payments"), &["--auth", "Bearer alice"]).await;
    assert_eq!(run.status, 1, "{}", run.errors);
    let failed = run.with(&["failed"]);
    assert!(failed.iter().any(|line| line.contains("closed the connection")), "{failed:?}");
    assert_eq!(run.cases()["keys/1"].0, "passed", "it was seen before");
}

/// It ends for good during the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_away_ends_the_run() {
    let shop = shop::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for _ in 0..20 {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut server = TcpStream::connect(shop).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
        Ok::<_, std::io::Error>(())
    });
    let run = check(&format!("http://{address}/payments"), &["--auth", "Bearer alice"]).await;
    assert_eq!(run.status, 2, "{}", run.output);
    assert!(run.errors.contains("the service is gone since the case"), "{}", run.errors);
}

/// A shop behind TLS, with a certificate of a private authority.
async fn start_with_tls(certificates: &Certificates) -> SocketAddr {
    let shop = shop::start().await;
    let chain = CertificateDer::pem_slice_iter(&certificates.read("server.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&certificates.read("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(shop).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_private_authority_needs_its_certificate() {
    let certificates = Certificates::new();
    let address = start_with_tls(&certificates).await;
    let (url, effects) = (format!("https://{address}/payments"), format!("https://{address}/payments/count"));
    let run = check(&url, &[]).await;
    assert_eq!(run.status, 2);
    assert!(
        run.errors.contains("does not accept a TLS connection") && run.errors.contains("--ca FILE"),
        "{}",
        run.errors
    );

    let authority = certificates.path("authority.pem");
    let options = [url.as_str(), "--ca", authority.to_str().unwrap(), "--auth", "Bearer alice", "--effects", &effects];
    let more = ["--yes", "--format", "json", "--body", BODY];
    let run = tool::run(&[&options[..], &more[..]].concat()).await;
    run.is_clean();
    assert_eq!(run.cases()["faults/2"].0, "passed");
}
