//! A client for another service, which takes and answers JSON over HTTP.

use std::time::Duration;

use reqwest::Client;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::failed::EffectError;

#[derive(Clone)]
pub(crate) struct Service {
    client: Client,
    url: String,
}

impl Service {
    pub(crate) fn at(url: String) -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { client, url })
    }

    /// Sends a request with a key. By the key the service recognises a repeated request.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: Uuid,
        body: &impl Serialize,
    ) -> Result<T, EffectError> {
        let request = self.client.post(format!("{}{path}", self.url)).header("idempotency-key", key.to_string());
        let request = request.header("content-type", "application/json").body(serde_json::to_vec(body)?);
        let answer = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}
