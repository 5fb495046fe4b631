//! Reads `INFO` (managed services do not allow `CONFIG`), and decides whether the server may keep claims.

use redis::{InfoDict, Value};

use crate::store::redis::error::RedisStoreError;

/// What `INFO` says about a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct ServerInfo {
    version: Option<String>,
    replica: bool,
    cluster: bool,
    maxmemory: u64,
    policy: String,
    append_only: bool,
    replicas: u64,
    /// An id of the process. It changes with a restart.
    pub(in super::super) run_id: String,
    /// Records that were evicted since the process started.
    pub(in super::super) evicted: u64,
}

impl ServerInfo {
    /// Reads an answer to `INFO`. A cluster connection returns one text for each node, by its address. Every node must
    /// pass.
    pub(in super::super) fn read(info: &Value) -> Vec<(Option<String>, Self)> {
        match info {
            Value::Map(nodes) => {
                let read = |(node, info): &(Value, Value)| Some((text(node), Self::parse(&text(info)?)));
                nodes.iter().filter_map(read).collect()
            }
            single => text(single).map(|text| (None, Self::parse(&text))).into_iter().collect(),
        }
    }

    fn parse(text: &str) -> Self {
        let info = InfoDict::new(text);
        let number = |name| info.get(name).unwrap_or(0);
        let is = |name, value: &str| info.get::<String>(name).as_deref() == Some(value);
        Self {
            version: info.get("redis_version"),
            replica: is("role", "slave"),
            cluster: is("cluster_enabled", "1"),
            maxmemory: number("maxmemory"),
            policy: info.get("maxmemory_policy").unwrap_or_default(),
            append_only: is("aof_enabled", "1"),
            replicas: number("connected_slaves"),
            run_id: info.get("run_id").unwrap_or_default(),
            evicted: number("evicted_keys"),
        }
    }

    /// Refuses a server that could make a request run twice, or not at all.
    ///
    /// `cluster`: the connection finds the node of a key by itself.
    pub(in super::super) fn judge(&self, allow_eviction: bool, cluster: bool) -> Result<(), RedisStoreError> {
        // If the version cannot be read, the server is not refused. The first claim will show whether it works.
        if let Some(found) = self.version.as_deref().filter(|version| major(version).is_some_and(|major| major < 7)) {
            return Err(RedisStoreError::TooOld { found: found.to_owned() });
        }
        if self.replica && !cluster {
            return Err(RedisStoreError::Replica);
        }
        if self.cluster && !cluster {
            return Err(RedisStoreError::ClusterMode);
        }
        let evicts = self.maxmemory > 0 && !self.policy.is_empty() && self.policy != "noeviction";
        if evicts && !allow_eviction {
            return Err(RedisStoreError::Evicting { policy: self.policy.clone() });
        }
        Ok(())
    }

    /// Logs what an operator should know.
    pub(in super::super) fn warn(&self) {
        if !self.append_only {
            crate::telemetry::log!(NO_APPEND_ONLY_FILE);
        }
        if self.replicas == 0 && !self.replica {
            tracing::info!("Redis has no replica: while it is down, requests with a key are refused");
        }
        if self.maxmemory > 0 && self.policy != "noeviction" {
            crate::telemetry::log!(EVICTION_POLICY, policy = self.policy);
        }
    }
}

fn text(value: &Value) -> Option<String> {
    redis::from_redis_value_ref(value).ok()
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
        # Replication\r\nrole:master\r\nconnected_slaves:1\r\n# Persistence\r\naof_enabled:1\r\n# Cluster\r\ncluster_enabled:0\r\n";

    fn judge(change: &[(&str, &str)]) -> Result<(), RedisStoreError> {
        let info = change.iter().fold(GOOD.to_owned(), |info, (from, to)| {
            assert!(info.contains(from), "{from}");
            info.replace(from, to)
        });
        ServerInfo::parse(&info).judge(false, false)
    }

    #[test]
    fn a_sound_server_will_do() {
        judge(&[]).expect("sound");
        judge(&[("7.0.15", "7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0")]).expect("Valkey");
        judge(&[("redis_version:7.0.15", "dragonfly_version:1.0")]).expect("unknown, so not refused");
    }

    #[test]
    fn an_old_server_is_refused() {
        let refused = judge(&[("7.0.15", "6.2.14")]);
        assert!(matches!(refused, Err(RedisStoreError::TooOld { found }) if found == "6.2.14"));
    }

    #[test]
    fn eviction_is_refused_where_it_can_happen() {
        let evicting = [("maxmemory:0", "maxmemory:1048576"), ("noeviction", "allkeys-lru")];
        assert!(matches!(judge(&evicting), Err(RedisStoreError::Evicting { policy }) if policy == "allkeys-lru"));
        judge(&evicting[..1]).expect("a limit without eviction refuses claims instead");
        judge(&evicting[1..]).expect("without a limit nothing is evicted");
        let info = ServerInfo { maxmemory: 1, policy: "volatile-ttl".to_owned(), ..ServerInfo::default() };
        info.judge(true, false).expect("the operator knows");
    }

    #[test]
    fn a_replica_and_a_cluster_are_refused_behind_a_plain_connection() {
        assert!(matches!(judge(&[("role:master", "role:slave")]), Err(RedisStoreError::Replica)));
        let cluster = GOOD.replace("cluster_enabled:0", "cluster_enabled:1");
        assert!(matches!(ServerInfo::parse(&cluster).judge(false, false), Err(RedisStoreError::ClusterMode)));
        ServerInfo::parse(&cluster).judge(false, true).expect("a cluster connection");
    }

    #[test]
    fn a_cluster_connection_answers_for_every_node() {
        let node = || Value::BulkString(GOOD.as_bytes().to_vec());
        let map =
            Value::Map(vec![(Value::SimpleString("a:1".into()), node()), (Value::SimpleString("b:1".into()), node())]);
        let nodes: Vec<_> = ServerInfo::read(&map).into_iter().filter_map(|(node, _)| node).collect();
        assert_eq!(nodes, ["a:1", "b:1"]);
        assert_eq!(ServerInfo::read(&node()), [(None, ServerInfo::parse(GOOD))]);
        assert_eq!(ServerInfo::read(&Value::Nil), []);
    }
}
