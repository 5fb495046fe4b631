//! Tests `SqlStore` on SQLite and on Postgres servers of their own, also when these fail.

mod commit;
mod cost;
mod dated;
mod failover;
mod faults;
mod full_pool;
mod pooler;
mod refusals;
mod table;
