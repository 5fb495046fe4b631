//! Checks what the example `webhooks` says of itself.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, RequestBuilder};
use support::example::Example;

use crate::send;

const SECRET: &str = "a secret of 24 bytes.....";

fn receiver() -> Example {
    let standard = format!("whsec_{}", pipe("base64 -w0", SECRET));
    Example::start("webhooks", &[("WEBHOOK_SECRET", &standard), ("GITHUB_SECRET", SECRET), ("STRIPE_SECRET", SECRET)])
}

/// Runs a shell command with a text as its input, and returns the output.
fn pipe(command: &str, text: &str) -> String {
    let mut child =
        Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: run tests/run, which installs what is missing");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Computes the signature with another implementation than the example's.
fn hmac(text: &str) -> String {
    let line = pipe(&format!("openssl dgst -sha256 -hmac '{SECRET}' -r"), text);
    line.split(' ').next().unwrap().to_owned()
}

fn hmac_in_base64(text: &str) -> String {
    pipe(&format!("openssl dgst -sha256 -hmac '{SECRET}' -binary | base64 -w0"), text)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn standard(service: &Example, id: &str, time: u64, body: &str) -> RequestBuilder {
    // There are two signatures after a change of the secret.
    let signature = format!("v1,AAAA v1,{}", hmac_in_base64(&format!("{id}.{time}.{body}")));
    let request = Client::new().post(service.url("/standard")).header("webhook-id", id).body(body.to_owned());
    request.header("webhook-timestamp", time.to_string()).header("webhook-signature", signature)
}

fn stripe(service: &Example, time: u64, body: &str) -> RequestBuilder {
    let signature = format!("t={time},v1={},v0=00", hmac(&format!("{time}.{body}")));
    Client::new().post(service.url("/stripe")).header("stripe-signature", signature).body(body.to_owned())
}

fn github(service: &Example, id: &str, body: &str) -> RequestBuilder {
    let request = Client::new().post(service.url("/github")).header("x-github-delivery", id).body(body.to_owned());
    request.header("x-hub-signature-256", format!("sha256={}", hmac(body)))
}

#[tokio::test]
async fn a_webhook_that_is_delivered_again_takes_effect_once() {
    let service = receiver();
    let body = r#"{"type":"order.paid"}"#;
    let first = send(standard(&service, "msg_1", now(), body)).await;
    // Another time gives another signature.
    let again = send(standard(&service, "msg_1", now() - 60, body)).await;
    assert_eq!((first, again), ((200, false, "1: order.paid\n".into()), (200, true, "1: order.paid\n".into())));

    let body = r#"{"action":"opened"}"#;
    let first = send(github(&service, "72d3162e", body)).await;
    let again = send(github(&service, "72d3162e", body)).await;
    assert_eq!((first, again), ((200, false, "2: opened\n".into()), (200, true, "2: opened\n".into())));

    let event = |pending| format!(r#"{{"id":"evt_1","type":"invoice.paid","pending_webhooks":{pending}}}"#);
    let first = send(stripe(&service, now(), &event(2))).await;
    let again = send(stripe(&service, now() - 60, &event(1))).await;
    assert_eq!((first, again), ((200, false, "3: invoice.paid\n".into()), (200, true, "3: invoice.paid\n".into())));

    // A delivery with another id is another event.
    let another = send(stripe(&service, now(), r#"{"id":"evt_2","type":"invoice.paid"}"#)).await;
    assert_eq!(another, (200, false, "4: invoice.paid\n".into()));
}

#[tokio::test]
async fn a_webhook_without_a_valid_signature_is_refused_before_and_after_the_right_one() {
    let service = receiver();
    let body = r#"{"id":"evt_1","type":"order.paid"}"#;
    let right: [&dyn Fn() -> RequestBuilder; 3] =
        [&|| standard(&service, "msg_1", now(), body), &|| github(&service, "72d3162e", body), &|| {
            stripe(&service, now(), body)
        }];
    for (number, right) in right.iter().enumerate() {
        let forged = || right().body(body.replace("paid", "void"));
        assert_eq!(send(forged()).await.0, 401, "{number}");
        let (status, replayed, text) = send(right()).await;
        assert_eq!((status, replayed), (200, false), "the forged one used up no key: {text}");
        assert_eq!(send(forged()).await.0, 401, "{number}");
        assert!(send(right()).await.1, "{number}");
    }
    // The signature is right, but the delivery is old: somebody has kept it and sends it again.
    assert_eq!(send(standard(&service, "msg_2", now() - 600, body)).await.0, 401);
    assert_eq!(send(stripe(&service, now() - 600, &body.replace('1', "2"))).await.0, 401);
}
