//! Runs the example `checkout` as its reader does.

use support::example::Example;

/// The point at which each attempt is killed, the effects that it had by then, and the effects that its retry runs.
const ROWS: [[&str; 3]; 7] = [
    ["before the charge", "nothing", "charge, order, mail"],
    ["after the charge", "charge", "charge, order, mail"],
    ["before the order", "charge", "order, mail"],
    ["after the order", "charge, order", "order, mail"],
    ["before the mail", "charge, order", "mail"],
    ["after the mail", "charge, order, mail", "mail"],
    ["before the answer", "charge, order, mail", "nothing"],
];

#[test]
fn killed_at_any_point_the_example_charges_orders_and_mails_once() {
    let (succeeded, printed, error) = Example::run("checkout", &[]);
    assert!(succeeded, "{printed}\n{error}");
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let rows: Vec<_> = printed.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect();
    assert_eq!(rows.len(), ROWS.len(), "{printed}");
    for (row, expected) in rows.iter().zip(ROWS) {
        assert_eq!(row[1..4], expected);
        let counts: Vec<_> = row[4..7].iter().map(|cell| cell.split(',').next().unwrap_or_default()).collect();
        assert_eq!(counts, ["1", "1", "1"], "{row:?}");
    }
}
