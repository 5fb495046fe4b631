//! The second effect: an order in the shop's own database.

use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqlitePool};

use crate::{failed::EffectError, killed, provider::Charge};

/// What a client asks for.
#[derive(Clone, Deserialize)]
pub(crate) struct NewOrder {
    pub(crate) customer: String,
    pub(crate) cents: i64,
}

/// A row of the table.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: String,
    pub(crate) cents: i64,
    /// The provider's receipt.
    pub(crate) receipt: String,
}

/// Makes the table.
pub(crate) async fn create(db: &SqlitePool) -> sqlx::Result<()> {
    let table = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, \
                 cents INTEGER NOT NULL, receipt TEXT NOT NULL)";
    sqlx::query(table).execute(db).await.map(drop)
}

/// Adds an order in the caller's transaction, and does not commit it.
pub(crate) async fn add(db: &mut SqliteConnection, new: &NewOrder, charge: &Charge) -> Result<Order, EffectError> {
    killed::at("before the order").await;
    let add = sqlx::query("INSERT INTO orders (customer, cents, receipt) VALUES (?, ?, ?)");
    let add = add.bind(&new.customer).bind(new.cents).bind(&charge.receipt);
    let id = add.execute(db).await?.last_insert_rowid();
    killed::at("after the order").await;
    Ok(Order { id, customer: new.customer.clone(), cents: new.cents, receipt: charge.receipt.clone() })
}

pub(crate) async fn all(db: &SqlitePool) -> sqlx::Result<Vec<Order>> {
    let all = sqlx::query_as("SELECT id, customer, cents, receipt FROM orders ORDER BY id").fetch_all(db).await?;
    Ok(all.into_iter().map(|(id, customer, cents, receipt)| Order { id, customer, cents, receipt }).collect())
}
