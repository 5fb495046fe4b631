//! The guides, from the same files as `docs/` in the repository.
//!
//! They are compiled with the documentation alone. A link from page to page is a reference (`[text][clients]`), which a page
//! defines for readers of the files, and this module before it for readers of the documentation: the first definition
//! counts.

/// Where the references of all pages lead, here.
macro_rules! page {
    ($(#[$title:meta])* $name:ident, $file:literal) => {
        $(#[$title])*
        ///
        /// [attributes]: crate::guide::attributes
        /// [clients]: crate::guide::clients
        /// [contract]: crate::guide::contract
        /// [cookbook]: crate::guide::cookbook
        /// [errors]: crate::guide::errors
        /// [layers]: crate::guide::layers
        /// [moving]: crate::guide::moving
        /// [operations]: crate::guide::operations
        /// [problems]: crate::problems
        /// [promises]: crate::guide::promises
        /// [reliability]: crate::guide::reliability
        /// [rollout]: crate::guide::rollout
        /// [testing]: crate::guide::testing
        ///
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    };
}

page!(
    /// What a client meets, case by case.
    contract, "contract.md"
);
page!(
    /// What is promised, what is not, exactly once, limits, when not to use it.
    promises, "promises.md"
);
page!(
    /// Every option and what it expands to.
    attributes, "attributes.md"
);
page!(
    /// What a client should do, and what those do that you do not write.
    clients, "clients.md"
);
page!(
    /// Recipes that people ask for first.
    cookbook, "cookbook.md"
);
page!(
    /// What stands around a handler.
    layers, "layers.md"
);
page!(
    /// Every error that you may see, with its cure.
    errors, "errors.md"
);
page!(
    /// From no keys to required keys.
    rollout, "rollout.md"
);
page!(
    /// From hand-written `SET NX`.
    moving, "moving.md"
);
page!(
    /// Testing your own handlers.
    testing, "testing.md"
);
page!(
    /// What to set up, what to watch, what to do.
    operations, "operations.md"
);
page!(
    /// What comes of each fault at each point.
    reliability, "reliability.md"
);
