//! The calls that the engine makes to a store.

use std::{future::Future, pin::Pin, time::Duration};

use super::StoreError;

/// A call that was answered at once, or one to be awaited.
pub(crate) enum StoreCall<'a, T> {
    /// The store is in this process and has answered already.
    Ready(Result<T, StoreError>),
    Pending {
        call: Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>,
        /// [`Store::answers_within`](super::Store::answers_within) of the store.
        answers_within: Option<Duration>,
    },
}

impl<'a, T> StoreCall<'a, T> {
    pub(crate) fn pending(
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
        answers_within: Option<Duration>,
    ) -> Self {
        Self::Pending { call: Box::pin(call), answers_within }
    }

    #[cfg(feature = "encryption")]
    pub(super) async fn answer(self) -> Result<T, StoreError> {
        match self {
            Self::Ready(answer) => answer,
            Self::Pending { call, .. } => call.await,
        }
    }
}
