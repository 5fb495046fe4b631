//! [`Idempotency`] from what people wrap a state in.
//!
//! A user cannot write these impls: neither the trait nor `Idempotency` nor `Arc` is theirs.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::FromRef;

use super::Idempotency;

/// `.with_state(Arc::new(app))`: what `App` offers, an `Arc<App>` offers, too.
impl<T> FromRef<Arc<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Arc<T>) -> Self {
        Self::from_ref(&**state)
    }
}

/// `.with_state(app)` with a `&'static App`, as `Box::leak` makes one.
impl<T> FromRef<&T> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &&T) -> Self {
        Self::from_ref(*state)
    }
}

/// The lock is held while the handle is cloned, at the start of each request.
impl<T> FromRef<Mutex<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Mutex<T>) -> Self {
        Self::from_ref(&*state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The lock is held for reading while the handle is cloned, at the start of each request.
impl<T> FromRef<RwLock<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &RwLock<T>) -> Self {
        Self::from_ref(&*state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
