//! A call to a store, as the engine makes it.

use std::{future::Future, pin::Pin};

use super::StoreError;

/// A call that is answered already, or one to be awaited.
pub(crate) enum StoreCall<'a, T> {
    /// The store is in this process and has answered.
    Ready(Result<T, StoreError>),
    Pending(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>),
}

impl<'a, T> StoreCall<'a, T> {
    pub(crate) fn pending(call: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Self {
        Self::Pending(Box::pin(call))
    }

    #[cfg(feature = "encryption")]
    pub(super) async fn answer(self) -> Result<T, StoreError> {
        match self {
            Self::Ready(answer) => answer,
            Self::Pending(call) => call.await,
        }
    }
}
