//! What the server is.

use serde::Deserialize;

use crate::client::Client;
use crate::error::Result;

/// What the server is: `GET /version`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// Such as `9.2`.
    pub release: String,
    /// Such as `9.2.11`.
    pub version: String,
}

impl Client {
    /// `GET /version`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn version(&self) -> Result<Version> {
        self.get("/version", &[]).await
    }
}
