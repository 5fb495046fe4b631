//! Limits how many bytes of bodies are held in memory at once. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A number of bytes that may be reserved, shared by all requests.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    used: AtomicUsize,
    limit: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// A reservation of zero bytes, which can grow.
    pub(crate) fn reservation(self: &Arc<Self>) -> ReservedBytes {
        ReservedBytes { budget: Some(self.clone()), bytes: 0 }
    }

    /// Whether `bytes` more bytes could be reserved now.
    pub(crate) fn has(&self, bytes: u64) -> bool {
        let free = self.limit.saturating_sub(self.used.load(Relaxed));
        bytes <= free as u64
    }

    /// Whether `bytes` could be reserved if nothing else were.
    pub(crate) fn could_have(&self, bytes: u64) -> bool {
        bytes <= self.limit as u64
    }
}

/// The bytes that one request has reserved. Dropping it returns them.
#[derive(Debug, Default)]
pub(crate) struct ReservedBytes {
    budget: Option<Arc<ByteBudget>>,
    bytes: usize,
}

impl ReservedBytes {
    /// Reserves more bytes. Returns `false`, and reserves nothing, if that would exceed the limit.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        let before = budget.used.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > budget.limit {
            budget.used.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Whether these and `more` bytes could be reserved if nothing else were.
    pub(crate) fn could_grow(&self, more: usize) -> bool {
        self.budget.as_ref().is_none_or(|budget| budget.could_have(self.bytes.saturating_add(more) as u64))
    }
}

impl Drop for ReservedBytes {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bytes_are_limited_and_returned() {
        let budget = ByteBudget::new(10);
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        assert!(one.grow(4) && other.grow(4) && !one.grow(3) && one.grow(2));
        assert!(!budget.has(1));
        drop(one);
        assert!(budget.has(6) && !budget.has(7));
        assert!(budget.could_have(10) && !budget.could_have(11));
        assert!(other.could_grow(6) && !other.could_grow(7));
        assert!(other.grow(6));
    }
}
