//! The rules of the protocol: what a record means for an attempt, and which change of the record follows. Pure: no
//! store, no clock.
//!
//! A store is a register: for each key it holds one [`Head`] and a body, and it changes them only if they are what is
//! expected ([`Expect`]). Everything else is decided here.

mod claim;
mod claim_request;
mod codec;
mod end;
mod finish;
mod keep;
mod look;
mod operation;
mod outcomes;
mod record;
mod register;

pub use claim::Claim;
pub use claim_request::{ClaimRequest, Fingerprint, StoreKey, Token};
pub use codec::HeadBytes;
pub use end::End;
pub use finish::Complete;
pub(crate) use finish::Replace;
pub use keep::Keep;
#[cfg(feature = "testing")]
pub use keep::Kept;
pub(crate) use look::{Forget, Look};
pub use operation::{Operation, Step};
pub use outcomes::{
    Acquired, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome,
    StoreError,
};
pub use record::{Change, Head, Stamp, State};
pub(crate) use register::micros_since_1970;
pub use register::{Expect, Put, Seen, Swapped, Write};
