//! The state of the shop's router.

use axum::extract::FromRef;
use idempotent_runtime::{Idempotency, SqlStore};
use sqlx::SqlitePool;

use crate::{mails::Mails, orders, provider::Provider, service::Service};

/// The router's state. The attribute finds its store in it by `FromRef`.
#[derive(Clone, FromRef)]
pub(crate) struct Shop {
    idempotency: Idempotency,
    pub(crate) provider: Provider,
    pub(crate) db: SqlitePool,
    pub(crate) mails: Mails,
}

impl Shop {
    /// Opens the shop. Its claims and steps are in its own database.
    pub(crate) async fn open(db: SqlitePool, services: Service) -> Result<Self, Box<dyn std::error::Error>> {
        let store = SqlStore::sqlite(db.clone());
        store.migrate().await?;
        orders::create(&db).await?;
        Ok(Self {
            idempotency: Idempotency::builder(store).namespace("checkout-example").build(),
            provider: Provider(services.clone()),
            db,
            mails: Mails(services),
        })
    }
}
