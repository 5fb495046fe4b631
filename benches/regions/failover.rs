//! Simulates the loss of a region. The other region goes on with a replica that lags behind, and some requests run
//! twice.
//!
//! All random numbers come from a seed, so the table is the same on every machine.

/// The number of failovers of which a line of the table shows the mean.
const FAILOVERS: u32 = 200;

/// New requests with a key per second, and for how many seconds, until the region is lost.
const REQUESTS_A_SECOND: u32 = 200;
const SECONDS: u32 = 90;

/// The shortest and the longest run of a handler, in seconds. Its effect comes in the second half of the run.
const SHORTEST: f64 = 0.02;
const LONGEST: f64 = 0.2;

/// The share of answers that do not reach their clients, and the pause in seconds after which those retry.
const LOST_ANSWERS: f64 = 0.02;
const PAUSE: f64 = 1.0;

/// The mean lags of the replica, in milliseconds. The lag at a failover is between half and one and a half times the
/// mean.
const LAGS: [u32; 8] = [0, 1, 10, 100, 500, 1_000, 5_000, 30_000];

/// Counts the results of the requests of some failovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Ran in both regions. The second run was not told, because the replica did not have the claim.
    pub(crate) untold: u32,
    /// Ran in both regions. The second run was told that an earlier attempt had died (`Claim::recovering`).
    pub(crate) told: u32,
    /// Has two entries in the ledger although the response is committed in the ledger's own transaction.
    pub(crate) twice_with_journal: u32,
    /// Its client has an answer, but the remaining ledger does not have the entry.
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

/// One request of the lost region. The times are in seconds from the start.
struct Request {
    claimed: f64,
    /// When the handler's effect took place. With a journal, the response is committed at the same time.
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

    /// Whether the client still waits for an answer when the region is lost.
    fn is_retried(&self, lost_at: f64) -> bool {
        self.completed > lost_at || (self.answer_lost && self.completed + PAUSE > lost_at)
    }
}

/// Simulates one failover.
fn fail_over(seed: u64, mean_lag: f64) -> Count {
    let mut random = Random(seed);
    let lost_at = f64::from(SECONDS);
    let lag = mean_lag * random.between(0.5, 1.5);
    // Whether a write took place in the lost region, and whether it reached the other region.
    let had = |written: f64| written <= lost_at;
    let has = |written: f64| had(written) && written + lag <= lost_at;
    let mut count = Count::default();
    for _ in 0..REQUESTS_A_SECOND * SECONDS {
        let request = Request::draw(&mut random);
        // What a retry finds in the other region, and what it does there.
        let retried = request.is_retried(lost_at);
        let runs_again = retried && !has(request.completed);
        if runs_again && had(request.effect) {
            // The lease ends before the clients are sent to the other region.
            if has(request.claimed) { count.told += 1 } else { count.untold += 1 }
        }
        // The journal is a part of the ledger, so a replica has both or neither.
        let in_ledger = u32::from(has(request.effect));
        let entries = in_ledger + u32::from(runs_again && in_ledger == 0);
        count.twice_with_journal += u32::from(entries > 1);
        let answered = had(request.completed) && !request.answer_lost;
        count.answered_and_lost += u32::from(answered && entries == 0);
    }
    count
}

/// Simulates all failovers for one mean lag, in milliseconds.
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

/// Makes the table, with one line for each lag.
pub(crate) fn table() -> String {
    let head = "| lag of the replica | run twice, and not told | run twice, and told | with a journal: twice in the ledger | \
                answered, and lost by the database |\n|---:|---:|---:|---:|---:|\n";
    LAGS.iter().fold(head.to_owned(), |table, &lag| {
        let Count { untold, told, twice_with_journal, answered_and_lost } = failovers(lag);
        let [untold, told, lost] = [untold, told, answered_and_lost].map(|sum| f64::from(sum) / f64::from(FAILOVERS));
        format!("{table}| {lag} ms | {untold:.1} | {told:.1} | {twice_with_journal} | {lost:.1} |\n")
    })
}
