//! A model of the protocol, checked exhaustively: a request, its retry and another request under one key, over a store
//! that can lose its data and a journal whose COMMITs can be lost, with processes that crash, stand still and wake up.
//!
//! Every interleaving within the bounds is visited. A thousand of the paths are replayed on the real stores, which have
//! to answer each call as the model's rules do. Each rule is also broken once, to show which promise depends on it.

#![allow(clippy::missing_panics_doc)]

mod invariants;
mod protocol;
mod replay;
mod rules;
mod search;
mod steps;
mod world;

use rules::{PROTOCOL, Rules};
use search::{Search, search};
use world::Faults;

/// Enough for a crash on each side of a pause, with the store lost in between.
const BOUNDS: Faults = Faults { crashes: 1, losses: 1, lost_replies: 1, lost_commits: 1, lapses: 2, with_steps: false };

/// Handlers with a step before their transaction. Every COMMIT is answered, which bounds the search.
const WITH_STEPS: Faults =
    Faults { crashes: 1, losses: 1, lost_replies: 1, lost_commits: 0, lapses: 2, with_steps: true };

#[test]
fn every_interleaving_keeps_the_promises() {
    keeps_the_promises(BOUNDS, search::of_the_protocol());
}

#[test]
fn every_interleaving_with_steps_keeps_the_promises() {
    keeps_the_promises(WITH_STEPS, search::of_steps());
}

fn keeps_the_promises(bounds: Faults, search: &Search) {
    let Search { states, steps, depth, broken } = search;
    println!("3 attempts and a last retry, at most {bounds:?}");
    println!("{} states, {steps} steps, {depth} deep", states.len());
    if let Some((promise, path)) = broken {
        panic!("broken: {promise}\n{}", path.join("\n"));
    }
    assert!(states.len() > 100_000, "the search went nowhere: {} states", states.len());
}

/// Breaks one rule, and expects the search to find that this promise is broken.
fn breaks(what: &str, rules: Rules, promise: &str) {
    breaks_within(BOUNDS, what, rules, promise);
}

fn breaks_within(bounds: Faults, what: &str, rules: Rules, promise: &str) {
    let Some((broken, path)) = search(rules, bounds).broken else { panic!("nothing needs {what}") };
    println!("without {what}, after {} steps: {broken}\n{}", path.len(), path.join("\n"));
    assert_eq!(broken, promise);
}

#[test]
fn without_the_token_check_a_zombie_overwrites_the_response() {
    let rules = Rules { token_check: false, ..PROTOCOL };
    breaks("the token check", rules, "one recorded response per key, unless the store loses data");
}

#[test]
fn without_the_fingerprint_check_a_request_gets_anothers_response() {
    let rules = Rules { fingerprint_check: false, ..PROTOCOL };
    breaks("the fingerprint check", rules, "no response of one request to another");
}

#[test]
fn without_the_unique_index_a_payment_is_made_twice() {
    breaks("the unique index", Rules { unique_index: false, ..PROTOCOL }, "one committed effect per key");
}

#[test]
fn without_the_read_after_a_run_without_commit_a_paid_request_is_refused() {
    let rules = Rules { read_after_a_run_without_commit: false, ..PROTOCOL };
    breaks("the read after", rules, "a run that came after the commit answers with what was committed");
}

#[test]
fn without_the_read_before_a_recovered_run_a_paid_request_runs() {
    let rules = Rules { read_before_a_recovered_run: false, ..PROTOCOL };
    breaks("the read before", rules, "no attempt after a dead one runs when its predecessor has committed");
}

#[test]
fn without_waiting_for_a_lost_commit_its_outcome_is_guessed() {
    let rules = Rules { settling_waits: false, ..PROTOCOL };
    breaks("the wait", rules, "what was said not to be committed never is");
}

#[test]
fn without_a_row_for_a_recovered_no_a_zombie_commits_what_was_refused() {
    let rules = Rules { recovered_no_is_sealed: false, ..PROTOCOL };
    breaks("the row of a recovered no", rules, "one recorded response per key, unless the store loses data");
}

#[test]
fn a_takeover_that_drops_steps_runs_a_saved_step_again() {
    let rules = Rules { takeover_keeps_steps: false, ..PROTOCOL };
    let promise = "a saved step does not run again, unless the store loses data";
    breaks_within(WITH_STEPS, "a takeover that keeps steps", rules, promise);
}

#[test]
fn a_release_that_frees_saved_steps_runs_them_again() {
    let rules = Rules { saved_steps_outlive_a_release: false, ..PROTOCOL };
    let promise = "a saved step does not run again, unless the store loses data";
    breaks_within(WITH_STEPS, "a release that keeps steps", rules, promise);
}

#[test]
fn a_save_without_the_token_check_overwrites_the_new_owners_step() {
    let rules = Rules { saving_checks_the_token: false, ..PROTOCOL };
    let promise = "a saved step keeps its value, unless the store loses data";
    breaks_within(WITH_STEPS, "the token check of a save", rules, promise);
}
