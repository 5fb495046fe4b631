//! A TCP proxy between a client and a server. It can break the connection in the ways in which networks do.

mod commits;
mod connection;
mod mode;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use self::mode::{LATE, Loss};
use self::{connection::carry, mode::Mode};

/// A proxy that passes everything at first. Its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mode = watch::Sender::new(Mode::Pass);
        let (accepted, cut) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = Arc::new(Mutex::new(server));
        let listener =
            tokio::spawn(listen(listener, Arc::clone(&server), mode.clone(), Arc::clone(&accepted), Arc::clone(&cut)));
        Self { address, server, mode, accepted, cut, listener }
    }

    /// The address of the proxy as a URL for Redis.
    pub fn redis_url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// The address to which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead to another server, as after a failover. Existing ones stay.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().expect("nobody panics with it") = server;
    }

    /// The next request reaches the server. Its answer is dropped, and the connection is broken.
    pub fn cut_next_answer(&self) {
        self.mode.send_replace(Mode::CutAfter(0));
    }

    /// The same as [`cut_next_answer`](Self::cut_next_answer), after this many answers.
    pub fn cut_answer_after(&self, passing: u32) {
        self.mode.send_replace(Mode::CutAfter(passing));
    }

    /// How many answers have been cut off so far.
    pub fn answers_cut(&self) -> usize {
        self.cut.load(SeqCst)
    }

    /// How many connections have been made so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Swallows everything from now on, like a dead network. Connections made before stay dead after
    /// [`pass`](Self::pass).
    pub fn go_silent(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// Swallows the answers from now on. Requests pass, and no connection breaks.
    pub fn swallow_answers(&self) {
        self.mode.send_replace(Mode::NoAnswers);
    }

    /// Breaks every connection and accepts no new one.
    pub fn refuse(&self) {
        self.mode.send_replace(Mode::Refuse);
    }

    /// Delays every answer by this time.
    pub fn delay(&self, by: Duration) {
        self.mode.send_replace(Mode::Late(by));
    }

    /// Holds back what clients send over the existing connections. It arrives after [`pass`](Self::pass), even if the
    /// client is gone by then. New connections pass.
    pub fn hold_requests(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// The same as [`hold_requests`](Self::hold_requests), after this many more answers: one or more.
    pub fn hold_requests_after(&self, answers: u32) {
        self.mode.send_replace(Mode::HoldAfter(answers));
    }

    /// Loses the next COMMIT to a PostgreSQL. Everything else passes.
    pub fn lose_next_commit(&self, loss: Loss) {
        self.mode.send_replace(Mode::LoseCommit(loss));
    }

    /// Whether the requested loss has happened.
    pub fn has_lost(&self) -> bool {
        !matches!(*self.mode.borrow(), Mode::LoseCommit(_))
    }

    /// Passes everything again.
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
    server: Arc<Mutex<SocketAddr>>,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
) {
    // Dropped with the proxy, which ends the connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, SeqCst);
        let server = *server.lock().expect("nobody panics with it");
        connections.spawn(carry(client, server, mode.clone(), Arc::clone(&cut)));
        while connections.try_join_next().is_some() {}
    }
}
