//! A journal in the user's database, on SQLite and on Postgres: what it keeps, and what becomes of it when something fails.

mod commit;
mod mistakes;
mod outages;
mod step_in;
mod table;
mod zombie;
