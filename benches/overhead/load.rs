//! Sends requests over loopback, from its own process.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    case::Phase,
    payment::{key, request},
};

/// The number of connections. Each has one request running.
pub(crate) const CONNECTIONS: u64 = 64;

const WARM_UP: Duration = Duration::from_millis(200);

/// Warms the server up and reports it. After a line on standard input, sends requests for `millis` milliseconds. Then
/// prints how many were answered and how many microseconds that took.
pub(crate) fn send(address: SocketAddr, phase: Phase, millis: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut senders = Vec::new();
        for number in 0..CONNECTIONS {
            senders.push(Sender::connect(address, phase, number).await);
        }
        let (senders, _) = send_for(senders, WARM_UP).await;
        println!("ready");
        std::io::stdin().lines().next().unwrap().unwrap();
        let started = Instant::now();
        let (_, answered) = send_for(senders, Duration::from_millis(millis)).await;
        println!("{answered} {}", started.elapsed().as_micros());
    });
}

async fn send_for(senders: Vec<Sender>, time: Duration) -> (Vec<Sender>, u64) {
    let end = Instant::now() + time;
    let tasks: JoinSet<(Sender, u64)> = senders.into_iter().map(|sender| sender.send_until(end)).collect();
    let (senders, counts): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    (senders, counts.into_iter().sum())
}

struct Sender {
    connection: SendRequest<Body>,
    phase: Phase,
    /// The number of this connection. No two connections send the same key.
    number: u64,
    sent: u64,
}

impl Sender {
    async fn connect(address: SocketAddr, phase: Phase, number: u64) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Self { connection, phase, number, sent: 0 }
    }

    async fn send_until(mut self, end: Instant) -> (Self, u64) {
        let before = self.sent;
        while Instant::now() < end {
            let number = if self.phase == Phase::Replay { 0 } else { self.sent };
            let response = self.connection.send_request(request(&key(self.number, number))).await.unwrap();
            assert_eq!(response.status(), StatusCode::CREATED);
            response.into_body().collect().await.unwrap();
            self.sent += 1;
        }
        let answered = self.sent - before;
        (self, answered)
    }
}
