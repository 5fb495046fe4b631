//! The three ways to take a payment, for both databases.

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, idempotent};
use serde::{Deserialize, Serialize};

pub(crate) struct App<DB: sqlx::Database> {
    pub(crate) db: sqlx::Pool<DB>,
    pub(crate) idempotency: Idempotency,
}

impl<DB: sqlx::Database> Clone for App<DB> {
    fn clone(&self) -> Self {
        Self { db: self.db.clone(), idempotency: self.idempotency.clone() }
    }
}

impl<DB: sqlx::Database> FromRef<App<DB>> for Idempotency {
    fn from_ref(app: &App<DB>) -> Self {
        app.idempotency.clone()
    }
}

#[derive(Deserialize)]
pub(crate) struct NewPayment {
    account: String,
    amount: i64,
}

#[derive(Serialize)]
pub(crate) struct Payment {
    id: i64,
    account: String,
    amount: i64,
}

pub(crate) fn tables(id: &str, bytes: &str) -> String {
    format!(
        "CREATE TABLE payments (id {id}, account TEXT NOT NULL, amount BIGINT NOT NULL);
         CREATE TABLE by_hand (key TEXT PRIMARY KEY, fingerprint {bytes} NOT NULL, response TEXT NOT NULL,
                               created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
}

macro_rules! routes {
    ($routes:ident, $module:ident, $database:ty, $begin:literal) => {
        mod $module {
            use super::*;

            const INSERT: &str = "INSERT INTO payments (account, amount) VALUES ($1, $2) RETURNING id";

            async fn plain(State(app): State<App<$database>>, Json(new): Json<NewPayment>) -> Response {
                let mut tx = app.db.begin_with($begin).await.unwrap();
                let insert = sqlx::query_scalar(INSERT).bind(&new.account).bind(new.amount);
                let id = insert.fetch_one(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                (StatusCode::CREATED, Json(Payment { id, account: new.account, amount: new.amount })).into_response()
            }

            async fn by_hand(
                State(app): State<App<$database>>,
                headers: HeaderMap,
                Json(new): Json<NewPayment>,
            ) -> Response {
                let key = headers["idempotency-key"].to_str().unwrap();
                // Looks for an earlier response first, as hand-written code usually does.
                let find = sqlx::query_scalar::<_, String>("SELECT response FROM by_hand WHERE key = $1");
                if let Some(response) = find.bind(key).fetch_optional(&app.db).await.unwrap() {
                    return (StatusCode::CREATED, [("content-type", "application/json")], response).into_response();
                }
                let mut tx = app.db.begin_with($begin).await.unwrap();
                let insert = sqlx::query_scalar(INSERT).bind(&new.account).bind(new.amount);
                let id = insert.fetch_one(&mut *tx).await.unwrap();
                let payment = Payment { id, account: new.account, amount: new.amount };
                let response = serde_json::to_string(&payment).unwrap();
                let keep =
                    "INSERT INTO by_hand (key, fingerprint, response) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                let keep = sqlx::query(keep).bind(key).bind(&[7_u8; 32][..]).bind(&response);
                assert_eq!(keep.execute(&mut *tx).await.unwrap().rows_affected(), 1);
                tx.commit().await.unwrap();
                (StatusCode::CREATED, [("content-type", "application/json")], response).into_response()
            }

            #[idempotent(ttl = "24h")]
            async fn ours(State(app): State<App<$database>>, claim: Claim, Json(new): Json<NewPayment>) -> Response {
                let mut tx = app.db.begin_with($begin).await.unwrap();
                let insert = sqlx::query_scalar(INSERT).bind(&new.account).bind(new.amount);
                let id = insert.fetch_one(&mut *tx).await.unwrap();
                let payment = Payment { id, account: new.account, amount: new.amount };
                claim.commit(tx, (StatusCode::CREATED, Json(payment))).await.into_response()
            }

            pub(crate) fn routes(app: App<$database>) -> Router {
                let routes = Router::new().route("/plain", post(plain)).route("/by-hand", post(by_hand));
                routes.route("/ours", post(ours)).with_state(app)
            }
        }
        pub(crate) use $module::routes as $routes;
    };
}

routes!(routes_sqlite, sqlite, sqlx::Sqlite, "BEGIN IMMEDIATE");
routes!(routes_postgres, postgresql, sqlx::Postgres, "BEGIN");
