//! A client for HTTP/1.1 that sends what other clients refuse to send: a header line twice, half a body, the next request
//! before the response to the last one. Everything it waits for or reads has a limit.

mod address;
mod connection;
mod error;
mod request;
mod response;
mod tls;

use std::{path::Path, time::Duration};

use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) use self::{address::Address, error::NoAnswer, request::Request, response::Answer};
use self::{connection::Connection, tls::Tls};

/// Sends requests. Each has its own connection, unless a function says otherwise.
#[derive(Clone)]
pub(crate) struct Http {
    tls: Tls,
    /// How long one exchange may take.
    patience: Duration,
}

/// Where a client breaks its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// After the head of the request.
    BeforeBody,
    /// After half of the body.
    InBody,
    /// After the whole request, before any of the response.
    AfterBody,
    /// After so much time, while the service works on the request.
    While(Duration),
    /// After the first bytes of the response.
    InResponse,
}

impl Http {
    /// `authority` is a file with certificates that the client trusts besides those of the system.
    pub(crate) fn new(patience: Duration, authority: Option<&Path>) -> Result<Self, String> {
        Ok(Self { tls: Tls::new(authority)?, patience })
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        self.within(async {
            let mut connection = self.connect(request).await?;
            connection.write(&request.bytes()).await;
            connection.read(request).await
        })
        .await
    }

    /// Sends the requests one after the other on one connection. If the service closes it in between, the rest goes over a
    /// new one.
    pub(crate) async fn send_in_turn(&self, requests: &[&Request]) -> Result<Vec<Answer>, NoAnswer> {
        let mut answers = Vec::new();
        let mut open: Option<Connection> = None;
        for request in requests {
            let (connection, answer) = self
                .within(async {
                    let mut connection = match open.take() {
                        Some(connection) => connection,
                        None => self.connect(request).await?,
                    };
                    connection.write(&request.bytes()).await;
                    let answer = connection.read(request).await?;
                    Ok((connection, answer))
                })
                .await?;
            open = Some(connection).filter(|_| !answer.closes());
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Sends the same request so many times at once: first all connections are made, then all write.
    pub(crate) async fn send_at_once(&self, request: &Request, count: usize) -> Vec<Result<Answer, NoAnswer>> {
        let barrier = std::sync::Arc::new(Barrier::new(count));
        let mut running = JoinSet::new();
        for _ in 0..count {
            let (http, request, barrier) = (self.clone(), request.clone(), barrier.clone());
            running.spawn(async move {
                let connection = timeout(http.patience, http.connect(&request)).await;
                barrier.wait().await;
                let mut connection = connection.map_err(|_| NoAnswer::TimedOut(http.patience))??;
                http.within(async {
                    connection.write(&request.bytes()).await;
                    connection.read(&request).await
                })
                .await
            });
        }
        let ended = running.join_all().await;
        ended.into_iter().collect()
    }

    /// Sends the same request so many times on one connection without waiting for a response (RFC 9112, section 9.3.2).
    /// Returns the answers that came: a service may close the connection after any of them.
    pub(crate) async fn send_pipelined(&self, request: &Request, count: usize) -> Result<Vec<Answer>, NoAnswer> {
        self.within(async {
            let mut connection = self.connect(request).await?;
            connection.write(&request.bytes().repeat(count)).await;
            let mut answers = vec![connection.read(request).await?];
            while answers.len() < count && !answers.last().is_some_and(Answer::closes) {
                let Ok(answer) = connection.read(request).await else { break };
                answers.push(answer);
            }
            Ok(answers)
        })
        .await
    }

    /// Sends a part of an exchange and closes the connection.
    pub(crate) async fn send_and_cut(&self, request: &Request, cut: Cut) -> Result<(), NoAnswer> {
        self.within(async {
            let mut connection = self.connect(request).await?;
            let (head, body) = (request.head(), request.body());
            connection.write(&head).await;
            match cut {
                Cut::BeforeBody => {}
                Cut::InBody => connection.write(body.get(..body.len() / 2).unwrap_or_default()).await,
                Cut::AfterBody => connection.write(body).await,
                Cut::While(time) => {
                    connection.write(body).await;
                    sleep(time).await;
                }
                Cut::InResponse => {
                    connection.write(body).await;
                    connection.read_some().await?;
                }
            }
            connection.close().await;
            Ok(())
        })
        .await
    }

    /// Sends a request, and another one when the first has been on its way for this time.
    pub(crate) async fn send_beside(
        &self,
        first: &Request,
        other: &Request,
        lead: Duration,
    ) -> Result<(Answer, Answer), NoAnswer> {
        self.within(async {
            let (mut one, mut two) = (self.connect(first).await?, self.connect(other).await?);
            one.write(&first.bytes()).await;
            sleep(lead).await;
            two.write(&other.bytes()).await;
            tokio::try_join!(one.read(first), two.read(other))
        })
        .await
    }

    /// Sends the body in four pieces with a pause before each.
    pub(crate) async fn send_slowly(&self, request: &Request, pause: Duration) -> Result<Answer, NoAnswer> {
        self.within(async {
            let mut connection = self.connect(request).await?;
            connection.write(&request.head()).await;
            for piece in request.body().chunks(request.body().len().div_ceil(4).max(1)) {
                sleep(pause).await;
                connection.write(piece).await;
            }
            connection.read(request).await
        })
        .await
    }

    async fn connect(&self, request: &Request) -> Result<Connection, NoAnswer> {
        Connection::open(request.address(), &self.tls).await
    }

    async fn within<T>(&self, exchange: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, NoAnswer> {
        timeout(self.patience, exchange).await.unwrap_or(Err(NoAnswer::TimedOut(self.patience)))
    }
}
