//! Tests `SqlStore` on SQLite and on Postgres servers of their own, also when these fail.

mod commit;
mod cost;
mod faults;
mod refusals;
mod table;
