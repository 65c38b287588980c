//! Sending calls: endpoints, authentication, retries.

mod exchange;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};
use url::Url;

use exchange::API;
pub(crate) use exchange::{Credentials, Sent, answer, escape, parse, request, send, unwritten};

use crate::api::Version;
use crate::config::{Auth, ClientConfig};
use crate::dialect::{self, Release};
use crate::error::{Error, ErrorKind, Result, found};
use crate::login::Ticket;
use crate::transport::Transport;

/// Parameters of a call.
pub type Parameters<'a> = [(&'a str, &'a str)];

/// How often a read is sent, and a write of which nothing was sent.
const ATTEMPTS: u32 = 4;

/// A client of one Proxmox VE cluster. Clones share connections, limits and the ticket.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    auth: Auth,
    ticket: Mutex<Option<Ticket>>,
    limit: Semaphore,
    concurrency: usize,
    release: OnceCell<Release>,
}

/// One node that answers for the cluster.
pub(crate) struct Endpoint {
    name: String,
    base: String,
    transport: Transport,
    timeout: Duration,
}

/// What every answer is wrapped in.
#[derive(Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: T,
}

#[derive(Deserialize)]
struct Whole<T> {
    data: T,
    #[serde(default)]
    changes: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.endpoints.iter().map(|at| at.name.as_str()).collect();
        f.debug_struct("Client").field("endpoints", &names).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Host and port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn new(config: &ClientConfig, text: &str, tls: rustls::ClientConfig) -> Result<Self> {
        // What follows the host is not looked at; what stands before it may be a password.
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Error::config("an endpoint holds no credentials"));
        }
        let wrong = |why: &str| Error::config(format!("endpoint {text:?}: {why}"));
        let url = Url::parse(text).map_err(|source| {
            wrong("not a URL such as https://pve01.example:8006").because(source)
        })?;
        if url.scheme() != "https" {
            return Err(wrong("Proxmox VE speaks https only"));
        }
        let host = url.host_str().ok_or_else(|| wrong("no host"))?;
        // A URL does not keep the port of its scheme: there may be a proxy that listens on it.
        let default = if authority.ends_with(":443") { 443 } else { 8006 };
        let port = url.port().unwrap_or(default);
        let name = format!("{host}:{port}");
        let mapped = config.mapped.iter().find(|(of, at, _)| of == host && *at == port);
        let address = mapped.map(|(_, _, address)| *address);
        let transport = Transport::new(host, port, address, tls, config.connect_timeout)
            .map_err(|source| wrong("no name of a host").because(source))?;
        Ok(Self { base: format!("https://{name}{API}"), name, transport, timeout: config.timeout })
    }
}

impl Client {
    /// A client with these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// Where an endpoint is not an `https` URL or the trust settings cannot be used.
    pub fn new(config: &ClientConfig) -> Result<Self> {
        let tls = crate::tls::client_config(&config.trust)?;
        let endpoints = config
            .endpoints
            .iter()
            .map(|text| Endpoint::new(config, text, tls.clone()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self(Arc::new(Shared {
            endpoints,
            current: AtomicUsize::new(0),
            auth: config.auth.clone(),
            ticket: Mutex::new(None),
            limit: Semaphore::new(config.concurrency),
            concurrency: config.concurrency,
            release: OnceCell::new(),
        })))
    }

    /// Any call: `path` begins with `/` and is encoded already, as `/nodes/pve01/qemu`. Parameters
    /// of GET and DELETE go into the query, all others into a form.
    ///
    /// A read is repeated where its answer was lost; a write only where nothing of it was sent.
    ///
    /// # Errors
    /// Where no endpoint can be reached, the server refuses, or the answer is no `T`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<T> {
        let whole: Envelope<T> = self.whole(method, path, parameters).await?;
        Ok(whole.data)
    }

    async fn whole<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<T> {
        self.check_release(&method, path, parameters).await?;
        self.sent(&method, path, parameters).await
    }

    /// As [`Self::whole`], of any release.
    async fn sent<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<T> {
        // Callers hold thousands of these: what a call needs while it is under way is apart.
        let bytes = Box::pin(self.repeat(method, path, parameters)).await?;
        let endpoint = self.endpoint()?;
        parse(endpoint, &bytes, &format!("{method} {path}"), *method != Method::GET)
    }

    async fn repeat(
        &self,
        method: &Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Bytes> {
        let _permit = self.permit().await?;
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.once(method, path, parameters).await {
                Ok(data) => return Ok(data),
                Err(error) => error,
            };
            let refused = error.kind() == ErrorKind::Auth
                && error.status() == Some(401)
                && !error.operation().ends_with("/access/ticket");
            if refused && !renewed && self.renew().await {
                renewed = true;
                continue;
            }
            let lost = error.kind() == ErrorKind::Unreachable && !error.may_have_been_applied();
            if !lost || attempt >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(%error, attempt, "repeating a call");
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        }
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<T> {
        self.call(Method::GET, path, parameters).await
    }

    /// GET of what may not be there: none then.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Option<T>> {
        found(self.get(path, parameters).await)
    }

    /// GET of a call that tells pending changes beside its data.
    pub(crate) async fn get_with_changes<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, Option<String>)> {
        let whole: Whole<T> = self.whole(Method::GET, path, &[]).await?;
        Ok((whole.data, whole.changes))
    }

    /// One round over the endpoints: the next is asked only where nothing was sent to this one.
    async fn once(
        &self,
        method: &Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Bytes> {
        let count = self.0.endpoints.len();
        let first = self.0.current.load(Ordering::Relaxed);
        let mut last = Error::config("no endpoint is given");
        for step in 0..count {
            let index = (first + step) % count;
            let Some(endpoint) = self.0.endpoints.get(index) else { continue };
            match self.authorised(endpoint, method, path, parameters).await {
                Err((error, false)) if error.kind() == ErrorKind::Unreachable => last = error,
                answer => {
                    self.0.current.store(index, Ordering::Relaxed);
                    return answer.map_err(|(error, _)| error);
                }
            }
        }
        Err(last)
    }

    /// How many calls run at a time.
    pub(crate) fn concurrency(&self) -> usize {
        self.0.concurrency
    }

    /// A place among the calls that run at a time.
    pub(crate) async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        self.0.limit.acquire().await.map_err(|_| Error::config("the client is closed"))
    }

    /// URL of the API at the endpoint that answered last, the first one before any has.
    pub fn base_url(&self) -> &str {
        self.endpoint().map_or("", |endpoint| endpoint.base.as_str())
    }

    /// The endpoint that answered last.
    pub(crate) fn endpoint(&self) -> Result<&Endpoint> {
        let index = self.0.current.load(Ordering::Relaxed);
        self.0.endpoints.get(index).ok_or_else(|| Error::config("no endpoint is given"))
    }

    async fn authorised(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Sent<Bytes> {
        let credentials = self.credentials(endpoint).await?;
        send(endpoint, method, path, parameters, credentials).await
    }

    /// How the client proves who it is.
    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// The ticket that is held.
    pub(crate) fn held_ticket(&self) -> &Mutex<Option<Ticket>> {
        &self.0.ticket
    }

    /// The release of the server: asked once.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn release(&self) -> Result<Release> {
        let release = self.0.release.get_or_try_init(|| async {
            let version: Envelope<Version> = self.sent(&Method::GET, "/version", &[]).await?;
            let Version { version, release } = version.data;
            version.parse::<Release>().or_else(|_| release.parse())
        });
        release.await.copied()
    }

    /// Refuses what the server's release does not have, before anything is sent.
    async fn check_release(
        &self,
        method: &Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<()> {
        if !dialect::depends(method.as_str(), path, parameters) {
            return Ok(());
        }
        match self.release().await?.refusal(method.as_str(), path, parameters) {
            None => Ok(()),
            Some(text) => Err(Error::new(ErrorKind::Unsupported, format!("{method} {path}"), text)),
        }
    }
}
