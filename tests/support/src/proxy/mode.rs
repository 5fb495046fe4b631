//! What a proxy does with what passes through.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// Requests arrive; after so many answers the next is dropped with the connection, and then it is `Pass` again.
    CutAfter(u32),
    /// Nothing arrives in either direction, and no connection breaks; a new one is accepted and as silent.
    Silent,
    /// New connections are closed at once; the present ones break.
    Refuse,
    /// Answers come late.
    Late(Duration),
    /// What clients send is held back, on the connections that there are; new ones pass.
    Hold,
    /// As `Hold`, after one answer more.
    HoldAfterAnswer,
    /// The next COMMIT to a PostgreSQL is lost, and then it is `Pass` again.
    LoseCommit(Loss),
}

/// What becomes of a COMMIT that is lost. In each case its sender sees a broken connection at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server carries it out; its answer is lost.
    AnswerLost,
    /// The server carries it out, after [`LATE`].
    ArrivesLate,
    /// The server never hears of it, and that the connection is broken it learns at once.
    NeverArrives,
    /// The server never hears of it, and holds the transaction open until it learns of the break, after [`LATE`].
    NeverArrivesAndStaysOpen,
}

/// How late a COMMIT comes, or the end of its connection.
pub const LATE: Duration = Duration::from_millis(700);
