//! Shared by all our tables in a user's database: their names, their migrations, and the supported databases.

pub(crate) mod database;
pub(crate) mod lent;
pub(crate) mod pool;
#[cfg(feature = "sqlx-postgres")]
pub(crate) mod pooler;
pub(crate) mod schema;
pub(crate) mod table;

use sha2::{Digest, Sha256};

use crate::protocol::StoreKey;

/// The name of a key in a table: always 32 bytes. Somebody who can read the database cannot use it as a key.
pub(crate) fn digest(key: &StoreKey) -> [u8; 32] {
    Sha256::digest(key.as_str().as_bytes()).into()
}
