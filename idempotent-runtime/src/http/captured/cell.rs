//! The cell through which a handler's [`Claim`](crate::Claim) finds the running attempt.

use std::sync::Arc;

use axum::http::Extensions;

use crate::engine::ClaimCell;

/// The cell of this request. The first to ask for it, an extractor or the engine, creates it.
///
/// If the cell is already filled, it belongs to a handler that passed its request on to this one. It is replaced, because
/// each handler has its own claim.
pub(crate) fn cell_of(extensions: &mut Extensions) -> Arc<ClaimCell> {
    let cell = extensions.get_or_insert_default::<Arc<ClaimCell>>();
    if cell.is_filled() {
        *cell = Arc::default();
    }
    cell.clone()
}
