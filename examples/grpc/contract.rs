//! What the client and the server of the example share: the method `Pay` of the service `shop.Payments`.

use serde::{Deserialize, Serialize};

/// What `Pay` is called with.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct Payment {
    /// Who pays.
    #[prost(string, tag = "1")]
    pub account: String,
    /// The amount.
    #[prost(uint32, tag = "2")]
    pub cents: u32,
}

/// What `Pay` returns. It is also what is stored for the next call with the key.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of the payment.
    #[prost(int64, tag = "1")]
    pub number: i64,
}

#[allow(unreachable_pub, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/shop.Payments.rs"));
}

pub use generated::{payments_client::PaymentsClient, payments_server};
