//! A proxy in front of PostgreSQL that loses a COMMIT in each of the ways in which one can be lost.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// What becomes of the next COMMIT. In each case its sender sees a broken connection at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server carries it out; its answer is lost.
    AnswerLost,
    /// The server carries it out, after [`LATE`].
    ArrivesLate,
    /// The server never hears of it, and that the connection is broken it learns at once.
    NeverArrives,
    /// The server never hears of it, and holds the transaction open until it learns of the break, after [`LATE`].
    NeverArrivesAndStaysOpen,
}

/// How late a COMMIT comes, or the end of its connection.
pub const LATE: Duration = Duration::from_millis(700);

/// A proxy that lets everything through until it is asked to lose a COMMIT.
pub struct CommitProxy {
    address: SocketAddr,
    next: watch::Sender<Option<Loss>>,
    listener: JoinHandle<()>,
}

impl CommitProxy {
    /// In front of this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let next = watch::Sender::new(None);
        let armed = next.clone();
        let listener = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, armed.clone()));
            }
        });
        Self { address, next, listener }
    }

    /// Where clients are to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One COMMIT, the next one, is lost.
    pub fn lose_next(&self, loss: Loss) {
        self.next.send_replace(Some(loss));
    }

    /// Whether the loss that was asked for has happened.
    pub fn has_lost(&self) -> bool {
        self.next.borrow().is_none()
    }
}

impl Drop for CommitProxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, next: watch::Sender<Option<Loss>>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &request[..length];
                // The whole message: `READ COMMITTED` is no COMMIT.
                let commits = sent.ends_with(b"Q\0\0\0\x0bCOMMIT\0");
                let loss = if commits { next.send_replace(None) } else { None };
                if let Some(loss) = loss {
                    lose(loss, client, server, sent).await;
                    return;
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn lose(loss: Loss, client: TcpStream, mut server: TcpStream, commit: &[u8]) {
    match loss {
        Loss::AnswerLost => {
            deliver(&mut server, commit).await;
            drop(client);
        }
        Loss::ArrivesLate => {
            drop(client);
            sleep(LATE).await;
            deliver(&mut server, commit).await;
        }
        Loss::NeverArrives => {}
        Loss::NeverArrivesAndStaysOpen => {
            drop(client);
            sleep(LATE).await;
        }
    }
}

async fn deliver(server: &mut TcpStream, commit: &[u8]) {
    server.write_all(commit).await.expect("the server is there");
    // It answers when it is done.
    let _ = server.read(&mut [0; 1024]).await;
}
