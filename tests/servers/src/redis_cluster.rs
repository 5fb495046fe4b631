//! A Redis Cluster of a test's own: three masters with a replica each, or a single node, on free ports.

use crate::{programs::redis_cli, redis_server::RedisServer, wait_until};

const NODES: usize = 6;

/// Six nodes; gone when it is dropped.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

/// A node that has every slot.
pub fn cluster_of_one(settings: &[&str]) -> RedisServer {
    let server = RedisServer::start_with(&[&["--cluster-enabled", "yes"], settings].concat());
    server.set(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_until("the cluster to come up", || server.command(&["SET", "probe", "1"]) == "+OK");
    server
}

impl RedisCluster {
    /// Takes some seconds. No master is replaced that a busy machine holds up.
    pub fn start() -> Self {
        Self::start_with("15000")
    }

    /// A master that is gone is replaced about two seconds later.
    pub fn start_watchful() -> Self {
        Self::start_with("1000")
    }

    /// `node_timeout`: the milliseconds without an answer after which a node counts as gone.
    fn start_with(node_timeout: &str) -> Self {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", node_timeout, "--repl-diskless-sync-delay", "0"];
        // By default every slot is refused while one has no master.
        let settings = [&settings[..], &["--cluster-require-full-coverage", "no"]].concat();
        let nodes: Vec<_> = (0..NODES).map(|_| RedisServer::start_with(&settings)).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address().to_string()).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        redis_cli(&create);
        let cluster = Self { nodes };
        wait_until("every node to know the cluster", || cluster.nodes.iter().all(is_ready));
        cluster
    }

    /// The URLs of the nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// The master of the slot that this key is in, as any living node sees it.
    pub fn master_of(&mut self, key: &str) -> &mut RedisServer {
        let index = self.index_of_master(key);
        &mut self.nodes[index]
    }

    /// Moves so many slots from the master of this key, its own among them, to another master.
    pub fn move_slots_of(&self, key: &str, slots: usize) {
        let from = &self.nodes[self.index_of_master(key)];
        let masters = self.masters();
        let id = |port: u16| masters.iter().find(|master| master.port == port).map(|master| master.id.clone());
        let to = masters.iter().find(|master| master.port != from.port()).expect("three masters").id.clone();
        let (slots, from_id) = (slots.to_string(), id(from.port()).expect("a master"));
        let address = from.address().to_string();
        let reshard = ["--cluster", "reshard", &address, "--cluster-from", &from_id, "--cluster-to", &to];
        redis_cli(&[&reshard[..], &["--cluster-slots", &slots, "--cluster-yes"]].concat());
    }

    fn index_of_master(&self, key: &str) -> usize {
        let slot = self.slot_of(key);
        let masters = self.masters();
        let master = masters.iter().find(|master| master.slots.iter().any(|&(from, to)| (from..=to).contains(&slot)));
        let port = master.unwrap_or_else(|| panic!("slot {slot} has no master")).port;
        self.nodes.iter().position(|node| node.port() == port).expect("one of ours")
    }

    /// The slot of a key.
    fn slot_of(&self, key: &str) -> u16 {
        self.alive().cli(&["CLUSTER", "KEYSLOT", key]).trim().parse().expect("a slot")
    }

    fn alive(&self) -> &RedisServer {
        self.nodes.iter().find(|node| node.is_serving()).expect("a node is alive")
    }

    fn masters(&self) -> Vec<Master> {
        let nodes = self.alive().cli(&["CLUSTER", "NODES"]);
        nodes.lines().filter_map(Master::parse).collect()
    }
}

/// A line of `CLUSTER NODES`: id, address, flags, its master, ping, pong, epoch, link, slots.
struct Master {
    id: String,
    port: u16,
    slots: Vec<(u16, u16)>,
}

impl Master {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [id, address, flags, _, _, _, _, _, slots @ ..] = fields.as_slice() else { return None };
        if !flags.contains("master") {
            return None;
        }
        let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
        let range = |range: &&str| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        Some(Self { id: (*id).to_owned(), port, slots: slots.iter().filter_map(range).collect() })
    }
}

/// It serves, it knows all others and which of them are replicas, and the replicas are in step.
fn is_ready(node: &RedisServer) -> bool {
    let nodes = node.cli(&["CLUSTER", "NODES"]);
    let info = node.cli(&["CLUSTER", "INFO"]);
    let replication = node.cli(&["INFO", "replication"]);
    info.contains("cluster_state:ok")
        && info.contains("cluster_known_nodes:6")
        && nodes.lines().filter_map(Master::parse).count() == NODES / 2
        && (replication.contains("master_link_status:up") || replication.contains("state=online"))
}
