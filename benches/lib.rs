//! The benchmarks are beside this file; there is nothing to build in here.
