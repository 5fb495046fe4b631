//! Prints the table of `docs/regions.md`: `cargo run -p idempotent-benches --example regions`.

mod failover;

fn main() {
    print!("{}", failover::table());
}
