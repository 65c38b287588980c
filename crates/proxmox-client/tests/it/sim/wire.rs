//! A small HTTP/1.1 client of our own, which sends exactly what it is told.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use proxmox_client::sim::SimHandle;

/// An answer; status 0 when the connection closed without one.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) body: Value,
}

/// A request as lines and bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// Sends requests to a simulator.
#[derive(Clone)]
pub(crate) struct Wire {
    connector: TlsConnector,
    addr: std::net::SocketAddr,
}

impl Wire {
    pub(crate) fn new(sim: &SimHandle) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).expect("a certificate"))
            .expect("a root");
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { connector: TlsConnector::from(Arc::new(config)), addr: sim.addr() }
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        let socket = TcpStream::connect(self.addr).await.expect("the simulator listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = self.connector.connect(name, socket).await.expect("TLS");
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
            request.method, request.path
        );
        let has =
            |name: &str| request.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if let Some(body) = &request.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (key, value) in &request.headers {
            head.push_str(&format!("{key}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(request.body.clone().unwrap_or_default());
        let _sent = tls.write_all(&bytes).await;
        let _flushed = tls.flush().await;
        let mut got = Vec::new();
        let _read = tls.read_to_end(&mut got).await;
        parse(&got)
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Answer::default() };
    let mut parts = head.lines().next().unwrap_or_default().splitn(3, ' ').skip(1);
    let status = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let reason = parts.next().unwrap_or_default().to_owned();
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    Answer { status, reason, body }
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A form from pairs.
pub(crate) fn form(pairs: &[(String, String)]) -> String {
    let rows: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    rows.join("&")
}
