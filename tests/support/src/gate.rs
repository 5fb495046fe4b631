//! Holds a handler until its test lets it go on.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Closed at first.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Returns when the gate was opened once for this call.
    pub async fn passed(&self) {
        self.0.acquire().await.expect("it is never closed for good").forget();
    }

    /// Lets one pass, now or when it comes.
    pub fn open(&self) {
        self.0.add_permits(1);
    }
}
