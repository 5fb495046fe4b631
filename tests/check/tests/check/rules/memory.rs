//! What the layer around a broken service remembers.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::http::{HeaderMap, StatusCode};

#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Default)]
struct Remembered {
    freed: HashSet<String>,
    running: HashMap<String, Vec<u8>>,
    connections: HashSet<(SocketAddr, String)>,
    pinned: HashMap<String, StatusCode>,
    first: HashMap<String, HeaderMap>,
}

impl Memory {
    fn with<T>(&self, look: impl FnOnce(&mut Remembered) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub(super) fn free(&self, key: &str) {
        self.with(|it| it.freed.insert(key.to_owned()));
    }

    pub(super) fn is_freed(&self, key: &str) -> bool {
        self.with(|it| it.freed.contains(key))
    }

    /// Remembers a request that begins. Whether no other one with its key runs, and whether that one has the same body.
    pub(super) fn begin(&self, key: &str, body: &[u8]) -> (bool, bool) {
        self.with(|it| {
            let running = it.running.get(key).map(|running| running == body);
            if running.is_none() {
                it.running.insert(key.to_owned(), body.to_vec());
            }
            (running.is_none(), running.unwrap_or(true))
        })
    }

    pub(super) fn end(&self, key: &str) {
        self.with(|it| it.running.remove(key));
    }

    /// Whether the key is the first on this connection.
    pub(super) fn is_first_on(&self, connection: SocketAddr, key: &str) -> bool {
        self.with(|it| it.connections.insert((connection, key.to_owned())))
    }

    pub(super) fn pin(&self, key: &str, status: StatusCode) {
        self.with(|it| it.pinned.insert(key.to_owned(), status));
    }

    pub(super) fn pinned(&self, key: &str) -> Option<StatusCode> {
        self.with(|it| it.pinned.get(key).copied())
    }

    /// The headers of the first response with this key.
    pub(super) fn first(&self, key: &str, headers: &HeaderMap) -> HeaderMap {
        self.with(|it| it.first.entry(key.to_owned()).or_insert_with(|| headers.clone()).clone())
    }

    /// Frees the key if the request is dropped.
    pub(super) fn watch(&self, key: &str) -> Leaving {
        Leaving { memory: self.clone(), key: key.to_owned(), has_stayed: false }
    }
}

pub(super) struct Leaving {
    memory: Memory,
    key: String,
    has_stayed: bool,
}

impl Leaving {
    pub(super) fn stayed(mut self) {
        self.has_stayed = true;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.has_stayed {
            self.memory.free(&self.key);
        }
    }
}
