//! The limits of a memory store, for all its shards together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{
    store::StoreError,
    telemetry::{self, MemoryMetrics},
};

/// What all shards hold together, and how much they may hold.
pub(super) struct Budget {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
    metrics: MemoryMetrics,
}

/// How full a [`MemoryStore`](crate::MemoryStore) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Keys in the store. Expired ones are included until they are dropped.
    pub records: usize,
    /// Bytes that these keys and their responses take, including the store's own indexes.
    pub bytes: usize,
    /// The limit on bytes.
    pub max_bytes: usize,
}

impl Budget {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        let (records, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        telemetry::limit("idempotency_memory_bytes_limit", max_bytes);
        Self { records, bytes, max_records, max_bytes, metrics: MemoryMetrics::default() }
    }

    pub(super) fn usage(&self) -> MemoryUsage {
        let (records, bytes) = (self.records.load(Relaxed), self.bytes.load(Relaxed));
        MemoryUsage { records, bytes, max_bytes: self.max_bytes }
    }

    /// Reserves memory for a new record, or returns which limit is reached.
    pub(super) fn admit(&self, bytes: usize) -> Result<(), StoreError> {
        self.add_record(bytes);
        let MemoryUsage { records, bytes: used, .. } = self.usage();
        let refusal = if records > self.max_records {
            "raise MemoryStore::builder().max_records(…), shorten the ttl, or use another store"
        } else if used > self.max_bytes {
            "raise MemoryStore::builder().max_bytes(…), shorten the ttl, or use another store"
        } else {
            return Ok(());
        };
        self.subtract_record(bytes);
        Err(StoreError::Full(refusal))
    }

    /// Reserves memory for a new record, even above the limit.
    pub(super) fn add_record(&self, bytes: usize) {
        self.records.fetch_add(1, Relaxed);
        self.metrics.records(1);
        self.add(bytes);
    }

    pub(super) fn subtract_record(&self, bytes: usize) {
        self.records.fetch_sub(1, Relaxed);
        self.metrics.records(-1);
        self.subtract(bytes);
    }

    pub(super) fn add(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Relaxed);
            self.metrics.bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn subtract(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Relaxed);
            self.metrics.bytes(-i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}
