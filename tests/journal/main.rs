//! A journal in the user's database, on SQLite and on Postgres: what it keeps, and what happens when something fails.

mod closed;
mod commit;
mod cost;
mod mistakes;
mod outages;
mod silent;
mod step_in;
mod table;
mod traffic;
mod zombie;
