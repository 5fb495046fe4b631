//! Checks that the statements of the documentation about the tests and the code are true, and runs the recipes.

mod cookbook;
mod databases;
mod errors;
mod layers;
mod links;
mod msrv;
mod names;
mod reading;
mod regions;
mod testing;
mod tests;
