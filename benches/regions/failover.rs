//! A region is lost, and the other one goes on with a replica that lags behind: how many requests run twice.
//!
//! Everything is drawn from a seed, so the table is the same on every machine.

/// Failovers that one line of the table is the mean of.
const FAILOVERS: u32 = 200;

/// New requests with a key, in each of them a second, until the region is lost.
const REQUESTS_A_SECOND: u32 = 200;
const SECONDS: u32 = 90;

/// A handler lasts as long as this, in seconds; its effect comes in the second half.
const SHORTEST: f64 = 0.02;
const LONGEST: f64 = 0.2;

/// So many answers do not reach their clients, which retry after a pause of some seconds.
const LOST_ANSWERS: f64 = 0.02;
const PAUSE: f64 = 1.0;

/// The mean lag of the replica, in milliseconds; a failover meets between half of it and one and a half times as much.
const LAGS: [u32; 8] = [0, 1, 10, 100, 500, 1_000, 5_000, 30_000];

/// What came of the requests of some failovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Ran in both regions, and the second run was not told so: the replica knew nothing of the claim.
    pub(crate) untold: u32,
    /// Ran in both regions, and the second run was told that an earlier one had died (`Claim::recovering`).
    pub(crate) told: u32,
    /// Stands twice in the ledger, where the response is committed in the ledger's own transaction.
    pub(crate) twice_with_journal: u32,
    /// Its client has an answer, and the ledger that is left does not have the entry.
    pub(crate) answered_and_lost: u32,
}

/// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[allow(clippy::cast_precision_loss)] // 53 bits are what a float has
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// One request of the lost region, in seconds from the start.
struct Request {
    claimed: f64,
    /// When its handler's effect took place: with a journal, together with its response.
    effect: f64,
    completed: f64,
    answer_lost: bool,
}

impl Request {
    fn draw(random: &mut Random) -> Self {
        let claimed = random.between(0.0, f64::from(SECONDS));
        let lasts = random.between(SHORTEST, LONGEST);
        let effect = claimed + lasts * random.between(0.5, 1.0);
        Self { claimed, effect, completed: claimed + lasts, answer_lost: random.between(0.0, 1.0) < LOST_ANSWERS }
    }

    /// Whether its client still wants an answer when the region is lost.
    fn is_retried(&self, lost_at: f64) -> bool {
        self.completed > lost_at || (self.answer_lost && self.completed + PAUSE > lost_at)
    }
}

/// One failover.
fn fail_over(seed: u64, mean_lag: f64) -> Count {
    let mut random = Random(seed);
    let lost_at = f64::from(SECONDS);
    let lag = mean_lag * random.between(0.5, 1.5);
    // What was written in the lost region, and whether the other one has it.
    let had = |written: f64| written <= lost_at;
    let has = |written: f64| had(written) && written + lag <= lost_at;
    let mut count = Count::default();
    for _ in 0..REQUESTS_A_SECOND * SECONDS {
        let request = Request::draw(&mut random);
        // What a retry in the other region finds, and what it does there.
        let retried = request.is_retried(lost_at);
        let runs_again = retried && !has(request.completed);
        if runs_again && had(request.effect) {
            // Its lease ends before the clients are led to the other region.
            if has(request.claimed) { count.told += 1 } else { count.untold += 1 }
        }
        // The journal is part of the ledger, so one has what the other has.
        let in_ledger = u32::from(has(request.effect));
        let entries = in_ledger + u32::from(runs_again && in_ledger == 0);
        count.twice_with_journal += u32::from(entries > 1);
        let answered = had(request.completed) && !request.answer_lost;
        count.answered_and_lost += u32::from(answered && entries == 0);
    }
    count
}

/// All failovers of one lag, in milliseconds.
pub(crate) fn failovers(lag: u32) -> Count {
    let lag = f64::from(lag) / 1_000.0;
    (1..=FAILOVERS).fold(Count::default(), |sum, seed| {
        let one = fail_over(u64::from(seed), lag);
        Count {
            untold: sum.untold + one.untold,
            told: sum.told + one.told,
            twice_with_journal: sum.twice_with_journal + one.twice_with_journal,
            answered_and_lost: sum.answered_and_lost + one.answered_and_lost,
        }
    })
}

/// The table, a line a lag.
pub(crate) fn table() -> String {
    let head = "| lag of the replica | run twice, and not told | run twice, and told | with a journal: twice in the ledger | \
                answered, and lost by the database |\n|---:|---:|---:|---:|---:|\n";
    LAGS.iter().fold(head.to_owned(), |table, &lag| {
        let Count { untold, told, twice_with_journal, answered_and_lost } = failovers(lag);
        let [untold, told, lost] = [untold, told, answered_and_lost].map(|sum| f64::from(sum) / f64::from(FAILOVERS));
        format!("{table}| {lag} ms | {untold:.1} | {told:.1} | {twice_with_journal} | {lost:.1} |\n")
    })
}
