//! The second effect: an order in the shop's own database.

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use uuid::Uuid;

use crate::{failed::EffectError, killed, provider::Charge};

/// What a client asks for.
#[derive(Clone, Deserialize)]
pub(crate) struct NewOrder {
    pub(crate) customer: String,
    pub(crate) cents: i64,
}

/// What stands in the table.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: String,
    pub(crate) cents: i64,
    /// The provider's receipt.
    pub(crate) receipt: String,
}

#[derive(Clone)]
pub(crate) struct Orders {
    db: SqlitePool,
}

impl Orders {
    pub(crate) async fn open(db: SqlitePool) -> sqlx::Result<Self> {
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, \
             customer TEXT NOT NULL, cents INTEGER NOT NULL, receipt TEXT NOT NULL)",
        )
        .execute(&db)
        .await?;
        Ok(Self { db })
    }

    /// Adds an order, or finds the one that an earlier attempt has added under the key.
    pub(crate) async fn add(&self, key: Uuid, new: &NewOrder, charge: &Charge) -> Result<Order, EffectError> {
        killed::at("before the order").await;
        let add = "INSERT INTO orders (key, customer, cents, receipt) VALUES (?, ?, ?, ?) \
                   ON CONFLICT (key) DO UPDATE SET key = key RETURNING id, customer, cents, receipt";
        let add = sqlx::query_as(add).bind(key.to_string()).bind(&new.customer).bind(new.cents).bind(&charge.receipt);
        let order = order(add.fetch_one(&self.db).await?);
        killed::at("after the order").await;
        Ok(order)
    }

    pub(crate) async fn all(&self) -> sqlx::Result<Vec<Order>> {
        let all = sqlx::query_as("SELECT id, customer, cents, receipt FROM orders ORDER BY id");
        Ok(all.fetch_all(&self.db).await?.into_iter().map(order).collect())
    }
}

fn order((id, customer, cents, receipt): (i64, String, i64, String)) -> Order {
    Order { id, customer, cents, receipt }
}
