//! [`Operations`]: finds two handlers whose attributes have the same `operation`.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

/// The operations that requests have named so far, each with its handler.
#[derive(Default)]
pub(crate) struct Operations(RwLock<HashMap<&'static str, &'static str>>);

impl Operations {
    /// The handler that used this name first, if it is another one.
    pub(crate) fn other_user(&self, operation: &'static str, handler: &'static str) -> Option<&'static str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(operation).copied();
        let first = known.unwrap_or_else(|| {
            self.0.write().unwrap_or_else(PoisonError::into_inner).entry(operation).or_insert(handler)
        });
        (first != handler).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_the_handler_that_used_it_first() {
        let operations = Operations::default();
        assert_eq!(operations.other_user("refunds.create", "v1::create"), None);
        assert_eq!(operations.other_user("refunds.create", "v1::create"), None);
        assert_eq!(operations.other_user("refunds.create", "v2::create"), Some("v1::create"));
        assert_eq!(operations.other_user("refunds.cancel", "v2::create"), None);
    }
}
