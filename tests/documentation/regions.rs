//! Checks that `docs/regions.md` shows what the simulation prints, and that its statements about it are true.

use std::fs;

#[path = "../../benches/regions/failover.rs"]
#[allow(unreachable_pub)]
mod failover;

use failover::{failovers, table};

#[test]
fn the_page_shows_what_the_simulation_prints() {
    let page = fs::read_to_string("docs/regions.md").unwrap();
    let shown = page.split_once("<!-- regions:begin -->\n").unwrap().1.split_once("<!-- regions:end -->").unwrap().0;
    assert_eq!(shown, table());
}

#[test]
fn a_longer_lag_makes_more_second_runs_and_none_with_a_journal() {
    let by_lag = [0, 100, 1_000, 30_000].map(failovers);
    for pair in by_lag.windows(2) {
        let (shorter, longer) = (pair[0], pair[1]);
        assert!(longer.untold > shorter.untold && longer.told <= shorter.told, "{pair:?}");
        assert!(longer.answered_and_lost > shorter.answered_and_lost, "{pair:?}");
    }
    assert_eq!(by_lag[0].untold, 0, "a replica without lag has every claim");
    assert!(by_lag[0].told > 0, "and not the responses of what is in flight");
    assert!(by_lag.iter().all(|count| count.twice_with_journal == 0));
}

#[test]
fn the_same_seed_gives_the_same_failover() {
    assert_eq!(failovers(500), failovers(500));
}
