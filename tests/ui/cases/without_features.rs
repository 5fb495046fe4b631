use idempotent_runtime::SqlStore;

fn main() {}
