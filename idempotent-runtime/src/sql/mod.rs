//! What the tables of ours in a user's database have in common: their names, their migrations, and the databases that they
//! can be in.

pub(crate) mod database;
pub(crate) mod pool;
pub(crate) mod schema;
pub(crate) mod table;
