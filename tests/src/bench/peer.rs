//! The bare client that ours is measured against: hyper over TLS, answers read and thrown away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::served::Place;

/// A token that the server of answers does not look at.
pub(super) const TOKEN: &str = "root@pam!bench=00000000-0000-0000-0000-000000000000";

#[derive(Clone)]
pub(super) struct Bare {
    port: u16,
    tls: TlsConnector,
}

impl Bare {
    pub(super) fn new(place: &Place) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(place.ca.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { port: place.port, tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let at = SocketAddr::from(([127, 0, 0, 1], self.port));
        let socket = tokio::net::TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("127.0.0.1")?, socket).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
    ) -> anyhow::Result<Bytes> {
        sender.ready().await?;
        let request = Request::get(path)
            .header("Host", format!("127.0.0.1:{}", self.port))
            .header("Authorization", format!("PVEAPIToken={TOKEN}"))
            .body(Empty::new())?;
        let answer = sender.send_request(request).await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    /// One answer.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let mut sender = self.connect().await?;
        self.send(&mut sender, path).await
    }

    /// Makes these requests, so many at a time, each worker over a connection of its own; the
    /// seconds that it took. Connections are there before the clock starts, as ours are that were
    /// kept from the round before.
    pub(super) async fn all(&self, paths: Vec<String>, at_once: usize) -> anyhow::Result<f64> {
        let mut senders = Vec::new();
        for _ in 0..at_once.min(paths.len()) {
            senders.push(self.connect().await?);
        }
        let (paths, next) = (Arc::new(paths), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for mut sender in senders {
            let (bare, paths, next) = (self.clone(), Arc::clone(&paths), Arc::clone(&next));
            workers.spawn(async move {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bare.send(&mut sender, path).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = workers.join_next().await {
            done.context("a worker ended")??;
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}
