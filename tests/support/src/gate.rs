//! Holds a handler until its test lets it go on.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A gate that is closed at first.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Returns when the gate has been opened once for this call.
    pub async fn passed(&self) {
        self.0.acquire().await.expect("it is never closed for good").forget();
    }

    /// Lets one call of `passed` return, now or when it is made.
    pub fn open(&self) {
        self.0.add_permits(1);
    }
}
