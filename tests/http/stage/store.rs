//! A real store inside a wrapper that can make any call fail, hang, or lose its answer.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

pub(crate) use idempotent_runtime::testing::StoreOperation as Op;
use idempotent_runtime::testing::{BoxFuture, BoxedStore, Claims, Faults};
use idempotent_runtime::{
    IdempotencyBuilder, Store, StoreError,
    store::{ClaimOutcome, ClaimRequest, ForgetOutcome, Lookup},
    testing,
};
use tokio::sync::watch;

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
    /// It does nothing and answers that the service may not do it.
    Forbid,
}

#[derive(Clone)]
pub(crate) struct TestStore(Arc<Inner>);

struct Inner {
    real: Arc<Box<dyn BoxedStore>>,
    faults: watch::Sender<HashMap<Op, VecDeque<Planned>>>,
    calls: Mutex<Vec<Op>>,
    claims: Mutex<Vec<ClaimRequest>>,
}

#[derive(Clone, Copy)]
struct Planned {
    fault: Fault,
    once: bool,
}

impl TestStore {
    pub(super) fn new(real: impl Store) -> Self {
        let (faults, calls, claims) = (watch::Sender::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { real: Arc::new(Box::new(real)), faults, calls, claims }))
    }

    /// A service over it.
    pub(super) fn builder(&self) -> IdempotencyBuilder {
        testing::builder(Arc::clone(&self.0.real), self.clone())
    }

    /// Makes every such call fail in this way, until [`heal`](Self::heal).
    pub(crate) fn fail(&self, op: Op, fault: Fault) {
        self.0.faults.send_modify(|faults| {
            faults.insert(op, VecDeque::from([Planned { fault, once: false }]));
        });
    }

    /// Makes the next such call fail in this way. Called again, it is about the call after that.
    pub(crate) fn fail_once(&self, op: Op, fault: Fault) {
        self.0.faults.send_modify(|faults| faults.entry(op).or_default().push_back(Planned { fault, once: true }));
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
            Op::Lookup,
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

    /// Loses a running record, as a failover or a flush does.
    pub(crate) async fn lose(&self, attempt: &ClaimRequest) {
        self.0.real.abandon(attempt).await.unwrap();
        assert_eq!(self.0.real.forget(&attempt.key).await.unwrap(), ForgetOutcome::Forgotten);
    }

    /// Leaves the claim of an attempt that has died.
    pub(crate) async fn die(&self, attempt: &ClaimRequest) {
        assert!(matches!(self.0.real.claim(attempt).await, Ok(ClaimOutcome::Acquired(_))));
        self.0.real.abandon(attempt).await.unwrap();
    }

    /// Loses a finished record.
    pub(crate) async fn lose_done(&self, attempt: &ClaimRequest) {
        assert_eq!(self.0.real.forget(&attempt.key).await.unwrap(), ForgetOutcome::Forgotten);
    }

    /// Whether some attempt holds the lease of a key.
    pub(crate) async fn is_running(&self, attempt: &ClaimRequest) -> bool {
        matches!(self.0.real.lookup(&attempt.key).await, Ok(Lookup::Running { left, .. }) if !left.is_zero())
    }

    async fn call_or_fail(&self, op: Op, call: BoxFuture<'_, Result<(), StoreError>>) -> Result<(), StoreError> {
        self.0.calls.lock().unwrap().push(op);
        match self.take_fault(op) {
            None => call.await,
            Some(Fault::Refuse) => Err(unreachable()),
            Some(Fault::Deny) => Err(StoreError::Refused("the test denies it".into())),
            Some(Fault::Forbid) => Err(StoreError::Forbidden("the test forbids it".into())),
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
        let mut taken = None;
        // A held call goes on when no fault is left, and this may remove the last one.
        self.0.faults.send_if_modified(|faults| {
            let Some(planned) = faults.get_mut(&op) else { return false };
            let Some(&Planned { fault, once }) = planned.front() else { return false };
            taken = Some(fault);
            if once {
                planned.pop_front();
            }
            planned.is_empty() && faults.remove(&op).is_some()
        });
        taken
    }
}

fn unreachable() -> StoreError {
    StoreError::Unreachable("the test broke the connection".into())
}

/// What a test itself asks of the store does not fail.
impl Deref for TestStore {
    type Target = Arc<Box<dyn BoxedStore>>;

    fn deref(&self) -> &Self::Target {
        &self.0.real
    }
}

impl Faults for TestStore {
    fn claims(&self, request: &ClaimRequest) {
        self.0.claims.lock().unwrap().push(request.clone());
    }

    fn call<'a>(
        &'a self,
        op: Op,
        call: BoxFuture<'a, Result<(), StoreError>>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        match op {
            Op::Forget => call,
            _ => Box::pin(self.call_or_fail(op, call)),
        }
    }
}
