use idempotent_runtime::{SqlJournal, SqlStore};

fn main() {}
