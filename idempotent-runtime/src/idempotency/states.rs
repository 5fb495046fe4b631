//! Makes an [`Idempotency`] available from the usual wrappers of a state.
//!
//! Users cannot write these impls, because neither the trait nor `Idempotency` nor `Arc` is defined in their crate.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::FromRef;

use super::Idempotency;

/// `.with_state(Arc::new(app))`: an `Arc<App>` provides what `App` provides.
impl<T> FromRef<Arc<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Arc<T>) -> Self {
        Self::from_ref(&**state)
    }
}

/// `.with_state(app)` with a `&'static App`, such as `Box::leak` returns.
impl<T> FromRef<&T> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &&T) -> Self {
        Self::from_ref(*state)
    }
}

/// The lock is held at the start of each request, while the handle is cloned.
impl<T> FromRef<Mutex<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Mutex<T>) -> Self {
        Self::from_ref(&*state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The lock is held for reading at the start of each request, while the handle is cloned.
impl<T> FromRef<RwLock<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &RwLock<T>) -> Self {
        Self::from_ref(&*state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
