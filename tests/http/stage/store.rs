//! A real store inside a wrapper that can make any call fail, hang, or lose its answer.

use std::{
    collections::HashMap,
    future::{Future, pending},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    MemoryStore, RedisStore, SqlStore, StoreError,
    store::{
        Acquired, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome,
        StoreKey,
    },
};
use tokio::sync::watch;

/// An operation on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Claim,
    Renew,
    Complete,
    Replace,
    SaveSteps,
    Release,
    Abandon,
    Look,
    Now,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and fails at once.
    Refuse,
    /// It does nothing and answers that it cannot do it now, as a replica does.
    Deny,
    /// It does its work, and the answer is lost.
    LoseAnswer,
    /// It does nothing and never answers.
    Hang,
    /// It does its work and never answers.
    HangAfter,
    /// It waits until the fault is healed and does its work then.
    Hold,
    /// It does its work after 450 ms.
    Slow,
    /// It does nothing and answers that there is no room.
    Full,
}

#[derive(Clone)]
pub(crate) struct TestStore(Arc<Inner>);

struct Inner {
    real: Real,
    faults: watch::Sender<HashMap<Op, Planned>>,
    calls: Mutex<Vec<Op>>,
    claims: Mutex<Vec<ClaimRequest>>,
    steps: Mutex<Vec<Bytes>>,
}

enum Real {
    Memory(MemoryStore),
    Redis(RedisStore),
    Sql(SqlStore),
}

#[derive(Clone, Copy)]
struct Planned {
    fault: Fault,
    once: bool,
}

/// Calls the real store, whichever it is.
macro_rules! real {
    ($store:expr, $method:ident($($argument:expr),*)) => {
        async {
            match &$store.0.real {
                Real::Memory(store) => store.$method($($argument),*).await,
                Real::Redis(store) => store.$method($($argument),*).await,
                Real::Sql(store) => store.$method($($argument),*).await,
            }
        }
    };
}

impl TestStore {
    pub(super) fn memory(store: MemoryStore) -> Self {
        Self::of(Real::Memory(store))
    }

    pub(super) fn redis(store: RedisStore) -> Self {
        Self::of(Real::Redis(store))
    }

    pub(super) fn sql(store: SqlStore) -> Self {
        Self::of(Real::Sql(store))
    }

    fn of(real: Real) -> Self {
        let (faults, calls, claims) = (watch::Sender::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { real, faults, calls, claims, steps: Mutex::default() }))
    }

    /// Makes every such call fail in this way, until [`heal`](Self::heal).
    pub(crate) fn fail(&self, op: Op, fault: Fault) {
        self.0.faults.send_modify(|faults| {
            faults.insert(op, Planned { fault, once: false });
        });
    }

    /// Makes the next such call fail in this way.
    pub(crate) fn fail_once(&self, op: Op, fault: Fault) {
        self.0.faults.send_modify(|faults| {
            faults.insert(op, Planned { fault, once: true });
        });
    }

    /// Makes every call fail in this way, until [`heal`](Self::heal).
    pub(crate) fn fail_all(&self, fault: Fault) {
        for op in [
            Op::Claim,
            Op::Renew,
            Op::Complete,
            Op::Replace,
            Op::SaveSteps,
            Op::Release,
            Op::Abandon,
            Op::Look,
            Op::Now,
        ] {
            self.fail(op, fault);
        }
    }

    pub(crate) fn heal(&self) {
        self.0.faults.send_modify(HashMap::clear);
    }

    /// How many such calls there were.
    pub(crate) fn calls(&self, op: Op) -> usize {
        self.0.calls.lock().unwrap().iter().filter(|&&called| called == op).count()
    }

    pub(crate) fn calls_of_any_kind(&self) -> usize {
        self.0.calls.lock().unwrap().len()
    }

    /// The attempts that asked for a key, in order, repeats included.
    pub(crate) fn claims(&self) -> Vec<ClaimRequest> {
        self.0.claims.lock().unwrap().clone()
    }

    /// The steps that were sent to be saved, in order.
    pub(crate) fn saved_steps(&self) -> Vec<Bytes> {
        self.0.steps.lock().unwrap().clone()
    }

    /// Loses a running record, as a failover or a flush does.
    pub(crate) async fn lose(&self, attempt: &ClaimRequest) {
        real!(self, abandon(attempt)).await.unwrap();
        assert_eq!(real!(self, forget(&attempt.key)).await.unwrap(), ForgetOutcome::Forgotten);
    }

    /// Loses a finished record.
    pub(crate) async fn lose_done(&self, attempt: &ClaimRequest) {
        assert_eq!(real!(self, forget(&attempt.key)).await.unwrap(), ForgetOutcome::Forgotten);
    }

    /// Whether some attempt holds the lease of a key.
    pub(crate) async fn is_running(&self, attempt: &ClaimRequest) -> bool {
        matches!(real!(self, lookup(&attempt.key)).await, Ok(Lookup::Running { left, .. }) if !left.is_zero())
    }

    async fn call<T>(&self, op: Op, call: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        self.0.calls.lock().unwrap().push(op);
        match self.take_fault(op) {
            None => call.await,
            Some(Fault::Refuse) => Err(unreachable()),
            Some(Fault::Deny) => Err(StoreError::Refused("the test denies it".into())),
            Some(Fault::Full) => Err(StoreError::Full("the test's disk")),
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(450)).await;
                call.await
            }
            Some(Fault::LoseAnswer) => {
                let _ = call.await;
                Err(unreachable())
            }
            Some(Fault::Hang) => pending().await,
            Some(Fault::HangAfter) => {
                let _ = call.await;
                pending().await
            }
            Some(Fault::Hold) => {
                let mut faults = self.0.faults.subscribe();
                let _ = faults.wait_for(HashMap::is_empty).await;
                call.await
            }
        }
    }

    fn take_fault(&self, op: Op) -> Option<Fault> {
        let planned = self.0.faults.borrow().get(&op).copied()?;
        if planned.once {
            // A held call goes on when no fault is left, and this may remove the last one.
            let taken = self.0.faults.send_if_modified(|faults| faults.remove(&op).is_some());
            return taken.then_some(planned.fault);
        }
        Some(planned.fault)
    }
}

fn unreachable() -> StoreError {
    StoreError::Unreachable("the test broke the connection".into())
}

impl Claims for TestStore {
    async fn claim(&self, attempt: &ClaimRequest) -> Result<idempotent_runtime::store::ClaimOutcome, StoreError> {
        self.0.claims.lock().unwrap().push(attempt.clone());
        self.call(Op::Claim, real!(self, claim(attempt))).await
    }

    async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        self.call(Op::Renew, real!(self, renew(attempt, held))).await
    }

    async fn complete(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        self.call(Op::Complete, real!(self, complete(attempt, fence, record.clone()))).await
    }

    async fn replace(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        self.call(Op::Replace, real!(self, replace(attempt, fence, record.clone()))).await
    }

    async fn save_steps(&self, attempt: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        self.0.steps.lock().unwrap().push(steps.clone());
        self.call(Op::SaveSteps, real!(self, save_steps(attempt, fence, steps.clone()))).await
    }

    async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.call(Op::Release, real!(self, release(attempt))).await
    }

    async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.call(Op::Abandon, real!(self, abandon(attempt))).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        self.call(Op::Look, real!(self, lookup(key))).await
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        real!(self, forget(key)).await
    }

    async fn clock(&self) -> Result<SystemTime, StoreError> {
        self.call(Op::Now, real!(self, clock())).await
    }
}
