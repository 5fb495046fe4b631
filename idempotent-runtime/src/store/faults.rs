//! [`Faults`]: what a test puts in front of a store, to make single operations fail.

use std::future::Future;

use super::{BoxFuture, ClaimRequest, StoreError};
use crate::telemetry::StoreOperation;

/// What a test puts in front of a store, to make single operations fail.
pub trait Faults: Send + Sync + 'static {
    /// A key is to be claimed.
    fn claims(&self, request: &ClaimRequest);

    /// Carries out an operation, or does something else.
    fn call<'a>(
        &'a self,
        kind: StoreOperation,
        call: BoxFuture<'a, Result<(), StoreError>>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A call that a test may make fail.
pub(super) async fn failing<T: Send>(
    faults: &dyn Faults,
    kind: StoreOperation,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let mut answer = None;
    let call = async {
        answer = Some(call.await?);
        Ok(())
    };
    faults.call(kind, Box::pin(call)).await?;
    // The test may only have said that the call was carried out.
    answer.ok_or(StoreError::Timeout)
}
