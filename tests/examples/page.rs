//! Tests the page of the example `payments` in a real browser: clicks each scenario and counts the payments in the
//! ledger.

use std::path::Path;

use serde_json::{Value, json};
use support::{browser::Browser, example::Example};

/// What the page shows for one side after a scenario.
#[derive(Debug, PartialEq, Eq)]
struct Side {
    /// The payments in the ledger, as the page counts them.
    payments: u64,
    verdict: String,
    /// The exchanges, oldest first: the status and marks of each.
    exchanges: Vec<String>,
}

struct Page {
    browser: Browser,
    service: Example,
}

impl Page {
    async fn open() -> Self {
        let service = Example::start("payments", &[]);
        let browser = Browser::start().await;
        browser.open(&service.url("/")).await;
        let page = Self { browser, service };
        page.wait_for_status("Choose").await;
        page
    }

    async fn wait_for_status(&self, text: &str) {
        let script = format!("return document.querySelector('#status').textContent.includes({});", json!(text));
        self.browser.wait_for(&script).await;
    }

    /// Waits until no request is running and the page counts so many payments on the protected side.
    async fn wait_for_payments(&self, payments: u64) {
        let script = format!(
            "return document.querySelector('[aria-disabled=true]') === null
                 && document.querySelector('#protected .count').textContent === '{payments}';"
        );
        self.browser.wait_for(&script).await;
    }

    /// Clicks a scenario with an empty ledger, and returns what both sides show at the end.
    async fn play(&self, scenario: &str) -> (Side, Side) {
        self.browser.click("#reset").await;
        self.wait_for_status("Choose").await;
        self.browser.click(&format!("#{scenario}")).await;
        self.wait_for_status("done").await;
        (self.side("protected").await, self.side("unprotected").await)
    }

    /// The same for a double click. On a busy machine the second click may come when the first payment is done, so that it gets
    /// its replay at once. Then it is played again.
    async fn play_a_double_click(&self) -> (Side, Side) {
        for _ in 0..5 {
            let played = self.play("double").await;
            if played.0.exchanges != ["201 Created", REPLAYED] {
                return played;
            }
        }
        panic!("the second click always came too late");
    }

    async fn side(&self, name: &str) -> Side {
        let script = format!(
            "const side = document.querySelector('#{name}');
             const text = (node) => node.textContent;
             return {{
                 payments: Number(text(side.querySelector('.count'))),
                 verdict: text(side.querySelector('.verdict')),
                 exchanges: [...side.querySelectorAll('.run li')].map((item) =>
                     [...item.querySelectorAll('.status, .chip')].map(text).join(', ')),
             }};"
        );
        let shown = self.browser.run(&script).await;
        let strings =
            |list: &Value| list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        Side {
            payments: shown["payments"].as_u64().unwrap(),
            verdict: shown["verdict"].as_str().unwrap().to_owned(),
            exchanges: strings(&shown["exchanges"]),
        }
    }

    /// The count of the service itself, without the page.
    async fn ledger(&self, name: &str) -> usize {
        let text = reqwest::get(self.service.url("/demo/ledger")).await.unwrap().text().await.unwrap();
        let ledger: Value = serde_json::from_str(&text).unwrap();
        ledger[name].as_array().unwrap().len()
    }
}

const ONCE: &str = "each order charged once";
const TWICE: &str = "1 payment too many";
const REPLAYED: &str = "201 Created, Idempotent-Replayed: true";

#[tokio::test]
async fn each_scenario_charges_once_with_the_attribute_and_its_twin_shows_the_harm() {
    let page = Page::open().await;

    let (protected, twin) = page.play("once").await;
    assert_eq!(protected, Side { payments: 1, verdict: ONCE.into(), exchanges: vec!["201 Created".into()] });
    assert_eq!(twin, Side { payments: 1, verdict: ONCE.into(), exchanges: vec!["201 Created".into()] });

    let (protected, twin) = page.play_a_double_click().await;
    assert_eq!((protected.payments, protected.verdict.as_str()), (1, ONCE));
    let [first, second, .., last] = &protected.exchanges[..] else { panic!("{protected:?}") };
    assert_eq!((first.as_str(), last.as_str()), ("201 Created", REPLAYED));
    assert_eq!(second, "409 Conflict, Retry-After: 1");
    assert_eq!(
        twin,
        Side { payments: 2, verdict: TWICE.into(), exchanges: vec!["201 Created".into(), "201 Created".into()] }
    );

    let (protected, twin) = page.play("lost").await;
    let no_answer = "no answer, connection lost";
    assert_eq!(
        protected,
        Side { payments: 1, verdict: ONCE.into(), exchanges: vec![no_answer.into(), REPLAYED.into()] }
    );
    assert_eq!(
        twin,
        Side { payments: 2, verdict: TWICE.into(), exchanges: vec![no_answer.into(), "201 Created".into()] }
    );

    let (protected, twin) = page.play("other").await;
    let refused = "422 Unprocessable Entity";
    assert_eq!(
        protected,
        Side { payments: 1, verdict: ONCE.into(), exchanges: vec!["201 Created".into(), refused.into()] }
    );
    assert_eq!(twin.payments, 2);

    let (protected, twin) = page.play("kill").await;
    assert_eq!((protected.payments, protected.verdict.as_str()), (1, ONCE));
    let [first, running @ .., last] = &protected.exchanges[..] else { panic!("{protected:?}") };
    assert_eq!((first.as_str(), last.as_str()), (no_answer, "201 Created, took over"));
    assert!(!running.is_empty(), "the lease outlives the attempt: {protected:?}");
    assert!(running.iter().all(|answer| answer.starts_with("409 Conflict, Retry-After: ")), "{running:?}");
    assert_eq!(twin.payments, 2);
    assert_eq!(twin.verdict, TWICE);

    // The page shows the payments that exist already.
    assert_eq!((page.ledger("protected").await, page.ledger("unprotected").await), (1, 2));
    page.browser.looks_good("page", Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
    works_by_keyboard(&page).await;
}

/// The keys, as WebDriver encodes them.
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// Starts at the top of the page. Tab reaches each scenario in turn and shows the focus. Enter plays the scenario, and
/// the focus stays.
async fn works_by_keyboard(page: &Page) {
    page.browser.open(&page.service.url("/")).await;
    page.wait_for_status("Choose").await;
    let mut payments = 0;
    for scenario in ["once", "double", "lost", "other", "kill"] {
        page.browser.press(TAB).await;
        let focus = "const focused = document.activeElement;
             return [focused.id, getComputedStyle(focused).outlineStyle];";
        assert_eq!(page.browser.run(focus).await, json!([scenario, "solid"]));
        page.browser.press(ENTER).await;
        payments += 1;
        page.wait_for_payments(payments).await;
        assert_eq!(page.browser.run(focus).await, json!([scenario, "solid"]), "after it was played");
    }
    // The button after the amount empties the ledger.
    page.browser.press(TAB).await;
    page.browser.press(TAB).await;
    page.browser.press(ENTER).await;
    page.wait_for_payments(0).await;
}

/// The code that the page shows is the code that runs, except for the parts that `…` replaces.
#[test]
fn the_page_shows_the_handlers_as_they_are() {
    let page = include_str!("../../examples/payments/demo/page.html");
    let source = include_str!("../../examples/payments/demo/handlers.rs");
    let plain = |line: &str| {
        let line = line.split('>').map(|part| part.split('<').next().unwrap()).collect::<String>();
        line.replace("&lt;", "<").replace("&gt;", ">").replace("…))", "").replace(", …) {", "")
    };
    let mut lines = 0;
    for listing in page.split("<pre").skip(1) {
        let listing = listing.split_once("</pre>").unwrap().0;
        let code =
            listing.lines().map(|line| plain(line.trim_start_matches(" tabindex=\"0\" aria-label=\"The handler\"")));
        for line in code.filter(|line| !line.contains("// nothing here")) {
            assert!(source.contains(line.trim()), "handlers.rs has no `{line}`");
            lines += 1;
        }
    }
    assert_eq!(lines, 13);
}
