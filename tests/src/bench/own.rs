//! A peer in a process of its own: this program again with another argument. It tells its place in one
//! line, and ends with its standard input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::TlsAcceptor;

/// The process; it ends with this.
#[derive(Debug)]
pub(super) struct Own<T> {
    child: Child,
    pub(super) place: T,
}

impl<T: DeserializeOwned> Own<T> {
    /// Starts it with an option and its value, and waits for its place.
    pub(super) fn start(option: &str, value: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([option, value])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let place = serde_json::from_str(&line);
        Ok(Self { child, place: place.with_context(|| format!("{option} did not start"))? })
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        // It ends by itself when its input does.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// In that process: tells the place, and returns when it is to end.
pub(super) async fn tell(place: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(place)?)?;
    out.flush()?;
    let wait = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(wait).await??;
    Ok(())
}

/// TLS of a server at `127.0.0.1` that speaks these protocols, with the certificate to trust, PEM.
pub(super) fn acceptor(protocols: &[&[u8]]) -> anyhow::Result<(TlsAcceptor, String)> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|why| anyhow::anyhow!("no key: {why}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    Ok((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))
}
