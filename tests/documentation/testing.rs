//! The faults that users can make in their tests, as `docs/testing.md` shows them.

recipe::recipe!("docs/testing.md", "Faults");

#[test]
fn an_outage_a_death_and_a_lost_claim_are_as_the_page_on_testing_shows_them() {
    main();
}
