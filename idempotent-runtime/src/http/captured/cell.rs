//! The cell through which a handler's [`Claim`](crate::Claim) finds the running attempt. An extractor of a `Claim` makes it,
//! so a request whose handler has no `Claim` costs nothing.

use std::{
    cell::Cell,
    sync::{Arc, Weak},
};

use axum::http::Extensions;

use crate::engine::ClaimCell;

thread_local! {
    /// The cell that was made last on this thread, of a request that the last extractor owns.
    static LAST_MADE: Cell<Weak<ClaimCell>> = const { Cell::new(Weak::new()) };
}

/// Marks a request that the last extractor owns. An extractor may call another service, whose requests do not have it.
#[derive(Clone, Copy)]
pub(super) struct OwnedByLast;

/// The cell of this request, for an extractor. The first to ask for it creates it.
pub(crate) fn cell_of(extensions: &mut Extensions) -> Arc<ClaimCell> {
    cell_in(extensions).unwrap_or_else(|| {
        let made = Arc::<ClaimCell>::default();
        if extensions.get::<OwnedByLast>().is_some() {
            LAST_MADE.set(Arc::downgrade(&made));
        }
        extensions.insert(Arc::clone(&made));
        made
    })
}

/// The cell of this request, if an extractor has created it.
///
/// If the cell is already filled, it belongs to a handler that passed its request on to this one. It does not count, because
/// each handler has its own claim.
pub(super) fn cell_in(extensions: &Extensions) -> Option<Arc<ClaimCell>> {
    extensions.get::<Arc<ClaimCell>>().filter(|cell| !cell.is_filled()).cloned()
}

/// Polls the last extractor, which owns the request. Also returns the cell, if a `Claim` was extracted inside it.
pub(super) fn polled<T>(poll: impl FnOnce() -> T) -> (T, Option<Arc<ClaimCell>>) {
    let before = LAST_MADE.take();
    let polled = poll();
    (polled, LAST_MADE.replace(before).upgrade())
}
