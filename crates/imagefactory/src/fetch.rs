//! Files by URL, into a cache.

use std::path::PathBuf;

use http::Method;
use url::Url;

use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Request, Transport, TransportOptions, refusal, shown, unreachable};

/// Fetches files over TLS.
#[derive(Debug, Clone)]
pub struct Fetcher {
    transport: Transport,
}

impl Fetcher {
    /// A fetcher that reaches servers as the options say.
    ///
    /// # Errors
    /// The options cannot be used.
    pub fn new(options: TransportOptions) -> Result<Self> {
        Ok(Self { transport: Transport::new(options)? })
    }

    /// Fetches a file of at most `most` bytes into a cache, unless its digest is known and it is
    /// there already.
    ///
    /// # Errors
    /// The URL is not HTTPS, the server refuses or cannot be reached, the file is larger, or it is
    /// not what it must be.
    pub async fn fetch(
        &self,
        url: &Url,
        expected: Option<&Digest>,
        most: u64,
        cache: &Cache,
    ) -> Result<(Digest, PathBuf)> {
        if url.scheme() != "https" {
            let text = format!("{} is not fetched over TLS", shown(url));
            let error = Error::new(ErrorKind::InvalidArgument, text);
            return Err(error.with_help("name it with https://"));
        }
        if let Some(expected) = expected
            && let Some(path) = cache.get(expected)?
        {
            return Ok((*expected, path));
        }
        let mut attempt = 1;
        loop {
            match self.fetch_once(url, expected, most, cache).await {
                Err(error) => self.transport.wait_after(&mut attempt, error).await?,
                done => return done,
            }
        }
    }

    async fn fetch_once(
        &self,
        url: &Url,
        expected: Option<&Digest>,
        most: u64,
        cache: &Cache,
    ) -> Result<(Digest, PathBuf)> {
        let request = Request::new(Method::GET, url.clone());
        let mut answer = crate::redirect::follow(&self.transport, &request).await?;
        if !answer.status().is_success() {
            return Err(refusal(url, answer).await);
        }
        let mut writer = cache.writer()?;
        let mut size = 0_u64;
        while let Some(chunk) = answer.chunk().await.map_err(|source| unreachable(url, source))? {
            size += chunk.len() as u64;
            if size > most {
                let text = format!("{} has more than {most} bytes", shown(url));
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            writer.write(&chunk)?;
        }
        writer.keep(expected).map_err(|error| error.within(shown(url)))
    }
}
