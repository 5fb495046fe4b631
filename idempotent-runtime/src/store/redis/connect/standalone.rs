//! Connects to one server, by its URL.

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, RedisResult};

use super::{Boxed, Connect, Connection, OnLoss, Options, prepare};
use crate::store::redis::failure::RedisFailure;

pub(in super::super) struct Standalone {
    info: ConnectionInfo,
    client: Client,
    options: Options,
}

impl Standalone {
    pub(in super::super) fn new(url: &str, options: Options) -> RedisResult<Self> {
        let info = prepare(url, options.timeouts)?;
        let client = options.client(info.clone())?;
        Ok(Self { info, client, options })
    }
}

impl Connect for Standalone {
    fn connect(&self, on_loss: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
        Box::pin(async move {
            let Some(credentials) = self.options.credentials.current().await? else {
                return Ok(open(&self.client, on_loss).await?);
            };
            let settings = credentials.apply(self.info.redis_settings().clone());
            let client = self.options.client(self.info.clone().set_redis_settings(settings))?;
            Ok(open(&client, on_loss).await?)
        })
    }

    fn address(&self) -> String {
        self.info.addr().to_string()
    }
}

/// So many commands may wait to be written. A call beyond them is woken once more, when there is room.
const QUEUE: usize = 1_024;

/// A connection that reports when it is lost.
pub(super) async fn open(client: &Client, on_loss: OnLoss) -> RedisResult<Connection> {
    let pushed = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            on_loss();
        }
        Ok::<_, redis::aio::SendError>(())
    };
    // The supervisor sets the deadlines. A second timer for each call is not needed.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
        .set_push_sender(pushed);
    Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
}
