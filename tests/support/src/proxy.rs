//! A TCP proxy between a client and a server that can break the connection in the ways that networks do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What the proxy does with what passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Requests arrive; after so many answers the next is dropped with the connection, and then it is `Pass` again.
    CutAfter(u32),
    /// Nothing arrives in either direction, and no connection breaks; a new one is accepted and as silent.
    Silent,
    /// New connections are closed at once; the present ones break.
    Refuse,
    /// Answers come late.
    Late(Duration),
    /// What clients send is held back, on the connections that there are; new ones pass.
    Hold,
    /// As `Hold`, after one answer more.
    HoldAfterAnswer,
}

/// A proxy that lets everything through at first; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// In front of this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mode = watch::Sender::new(Mode::Pass);
        let (accepted, cut) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let listener = tokio::spawn(listen(listener, server, mode.clone(), Arc::clone(&accepted), Arc::clone(&cut)));
        Self { address, mode, accepted, cut, listener }
    }

    /// For Redis: the address of the proxy as a URL.
    pub fn redis_url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Where clients are to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request reaches the server; its answer, and the connection, do not survive.
    pub fn cut_next_answer(&self) {
        self.mode.send_replace(Mode::CutAfter(0));
    }

    /// As [`cut_next_answer`](Self::cut_next_answer), for the answer after the next one.
    pub fn cut_second_answer(&self) {
        self.mode.send_replace(Mode::CutAfter(1));
    }

    /// How many answers were cut off so far.
    pub fn answers_cut(&self) -> usize {
        self.cut.load(SeqCst)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Swallows everything from now on: a dead network. Connections made before stay dead after [`pass`](Self::pass).
    pub fn go_silent(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// Breaks every connection and accepts no other.
    pub fn refuse(&self) {
        self.mode.send_replace(Mode::Refuse);
    }

    /// Holds every answer back for a while.
    pub fn delay(&self, by: Duration) {
        self.mode.send_replace(Mode::Late(by));
    }

    /// Holds back what clients send over the connections that there are; it arrives with [`pass`](Self::pass), even if the
    /// client is gone by then. New connections pass.
    pub fn hold_requests(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// As [`hold_requests`](Self::hold_requests), after one answer more.
    pub fn hold_requests_after_an_answer(&self) {
        self.mode.send_replace(Mode::HoldAfterAnswer);
    }

    /// Lets everything through again.
    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(
    listener: TcpListener,
    server: SocketAddr,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
) {
    // Gone with the proxy, and with them the connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, SeqCst);
        connections.spawn(carry(client, server, mode.clone(), Arc::clone(&cut)));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mode: watch::Sender<Mode>, cut: Arc<AtomicUsize>) {
    let mut modes = mode.subscribe();
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // What was swallowed once is missing from the stream, so a connection that was silent never speaks again.
    let mut dead = false;
    let holds = |mode| matches!(mode, Mode::Hold | Mode::HoldAfterAnswer);
    let is_new = holds(*modes.borrow_and_update());
    let mut held = None;
    loop {
        dead |= *modes.borrow() == Mode::Silent;
        if *modes.borrow() == Mode::Hold && !is_new {
            held.get_or_insert_with(Vec::new);
        }
        if let Some(requests) = held.as_mut() {
            hold(&mut client, &mut modes, requests).await;
            if server.write_all(requests).await.is_err() {
                return;
            }
            held = None;
            continue;
        }
        if *modes.borrow() == Mode::Refuse {
            return;
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = client.read(&mut request) => match read {
                Ok(length @ 1..) => {
                    if !dead && *modes.borrow() != Mode::Silent && server.write_all(&request[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answer) => match read {
                Ok(length @ 1..) => {
                    let now = *modes.borrow();
                    match now {
                        _ if dead => {}
                        Mode::Silent => dead = true,
                        Mode::Refuse => return,
                        Mode::CutAfter(_) => {
                            let mut this_one = false;
                            mode.send_modify(|mode| match mode {
                                Mode::CutAfter(0) => (this_one, *mode) = (true, Mode::Pass),
                                Mode::CutAfter(passing) => *passing -= 1,
                                // Another connection's answer was cut meanwhile.
                                _ => {}
                            });
                            if this_one {
                                cut.fetch_add(1, SeqCst);
                                return;
                            }
                        }
                        Mode::Late(by) => tokio::time::sleep(by).await,
                        Mode::HoldAfterAnswer if !is_new => {
                            mode.send_replace(Mode::Hold);
                        }
                        Mode::Pass | Mode::Hold | Mode::HoldAfterAnswer => {}
                    }
                    if !dead && client.write_all(&answer[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

/// Collects what the client sends until the proxy lets it pass.
async fn hold(client: &mut TcpStream, modes: &mut watch::Receiver<Mode>, requests: &mut Vec<u8>) {
    let mut request = vec![0; 64 << 10];
    let mut is_gone = false;
    while *modes.borrow_and_update() == Mode::Hold {
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = client.read(&mut request), if !is_gone => match read {
                Ok(length @ 1..) => requests.extend_from_slice(&request[..length]),
                _ => is_gone = true,
            },
        }
    }
}
