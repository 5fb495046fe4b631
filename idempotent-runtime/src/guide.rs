//! The guides, from the same files as `docs/` in the repository.
//!
//! They are compiled only with the documentation. A link between pages is a reference such as `[text][clients]`. Each
//! page defines its references for readers of the files. This module defines them first, for readers of the
//! documentation, and the first definition counts.

/// Where the references lead in this documentation.
macro_rules! page {
    ($(#[$title:meta])* $name:ident, $file:literal) => {
        $(#[$title])*
        ///
        /// [adopting]: crate::guide::adopting
        /// [attributes]: crate::guide::attributes
        /// [clients]: crate::guide::clients
        /// [compiler-errors]: crate::guide::attributes#compiler-errors
        /// [compare]: crate::guide::compare
        /// [contract]: crate::guide::contract
        /// [cookbook]: crate::guide::cookbook
        /// [database]: crate::guide::operations#setting-up-a-database
        /// [deploy]: crate::guide::contract#what-a-deploy-must-not-change
        /// [errors]: crate::guide::errors
        /// [layers]: crate::guide::layers
        /// [messages]: crate::guide::messages
        /// [operations]: crate::guide::operations
        /// [problems]: crate::problems
        /// [promises]: crate::guide::promises
        /// [regions]: crate::guide::regions
        /// [reliability]: crate::guide::reliability
        /// [security]: crate::guide::security
        /// [terms]: crate::guide::contract#terms
        /// [testing]: crate::guide::testing
        /// [troubleshooting]: crate::guide::troubleshooting
        /// [upgrading]: crate::guide::upgrading
        ///
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    };
}

page!(
    /// What a client gets, case by case.
    contract, "contract.md"
);
page!(
    /// What is promised, what is not, how to get exactly once, limits, when not to use it.
    promises, "promises.md"
);
page!(
    /// Other attributes on a handler, where its `Idempotency` comes from, compiler errors, and the expansion.
    attributes, "attributes.md"
);
page!(
    /// Effects outside of HTTP: messages, jobs, gRPC.
    messages, "messages.md"
);
page!(
    /// What a client should do, and how clients behave that others have written.
    clients, "clients.md"
);
page!(
    /// This crate beside others, by what each did in a test.
    compare, "compare.md"
);
page!(
    /// Recipes for common tasks.
    cookbook, "cookbook.md"
);
page!(
    /// Layers around a protected handler.
    layers, "layers.md"
);
page!(
    /// Every error message, with its cause and its cure.
    errors, "errors.md"
);
page!(
    /// Whether you need it, how to introduce it in a service that runs already, moving from other code.
    adopting, "adopting.md"
);
page!(
    /// What you see, why, and what to change.
    troubleshooting, "troubleshooting.md"
);
page!(
    /// What is protected, from whom, and what is not.
    security, "security.md"
);
page!(
    /// What a new release may change, and how to deploy it.
    upgrading, "upgrading.md"
);
page!(
    /// How to test your own handlers.
    testing, "testing.md"
);
page!(
    /// What to set up, what to watch, what to do.
    operations, "operations.md"
);
page!(
    /// What to do when an alert fires.
    runbook, "operations/runbook.md"
);
page!(
    /// The effect of each fault at each point.
    reliability, "reliability.md"
);
page!(
    /// One service in two regions.
    regions, "regions.md"
);
