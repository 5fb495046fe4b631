//! What the tables of ours in a user's database have in common: their names, their migrations, and the databases that they
//! can be in.

pub(crate) mod database;
pub(crate) mod pool;
pub(crate) mod schema;
pub(crate) mod table;

use sha2::{Digest, Sha256};

use crate::store::StoreKey;

/// The name under which a key stands in a table: 32 bytes, whatever the length of its parts, and nothing that a reader of
/// the database could send as a key.
pub(crate) fn digest(key: &StoreKey) -> [u8; 32] {
    Sha256::digest(key.as_str().as_bytes()).into()
}
