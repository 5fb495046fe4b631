//! `SqlStore` on SQLite and on Postgres servers of the tests' own, and their faults.

mod commit;
mod faults;
mod refusals;
mod table;
