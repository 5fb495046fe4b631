//! This crate has no code of its own. The benchmarks are the files beside this one.
