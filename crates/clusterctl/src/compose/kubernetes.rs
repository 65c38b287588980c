//! The Kubernetes API of a cluster: which nodes it has and whether they are ready.
//!
//! The API server is dialled at a control-plane node, never at the virtual address: that one
//! moves while a cluster comes up.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::client::Body;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::access::Admin;
use crate::error::Error;

/// Port of the API server.
pub const PORT: u16 = 6443;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where addresses of the plan are really reached; empty outside of the lab.
pub type Dial = Arc<BTreeMap<(IpAddr, u16), SocketAddr>>;

/// Readiness of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Whether its `Ready` condition is true.
    pub ready: bool,
    /// Why not, in the words of the kubelet.
    pub reason: String,
}

/// The API server of one cluster.
#[derive(Clone)]
pub struct Kubernetes {
    client: kube::Client,
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// A client that asks the API server on a node, as the administrator. Nothing is dialled yet.
    ///
    /// # Errors
    /// The administrator's files make no sense.
    pub fn new(node: IpAddr, admin: &Admin, dial: Dial) -> Result<Self, Error> {
        let connector = Connector { target: (node, PORT), dial, tls: tls(admin)? };
        let inner: HyperClient<Connector, Body> =
            HyperClient::builder(TokioExecutor::new()).build(connector);
        let host = match node {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let inner = inner.clone();
            let host = host.clone();
            async move {
                let (mut parts, body) = request.into_parts();
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                parts.uri = format!("https://{host}:{PORT}{path}").parse()?;
                let answer = inner.request(http::Request::from_parts(parts, body)).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
            }
        });
        Ok(Self { client: kube::Client::new(service, "default") })
    }

    /// The nodes that are registered, by name.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub async fn nodes(&self) -> Result<BTreeMap<String, NodeState>, Error> {
        let failed = || Error::failed("list the nodes of the cluster");
        let api: Api<Node> = Api::all(self.client.clone());
        let list = tokio::time::timeout(PATIENCE, api.list(&ListParams::default()))
            .await
            .map_err(|_| failed().because("the API server does not answer in time"))?
            .map_err(|error| failed().because(error))?;
        Ok(list
            .items
            .into_iter()
            .filter_map(|node| Some((node.metadata.name.clone()?, state(&node))))
            .collect())
    }
}

fn state(node: &Node) -> NodeState {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(condition) => NodeState {
            ready: condition.status == "True",
            reason: condition
                .message
                .clone()
                .or_else(|| condition.reason.clone())
                .unwrap_or_default(),
        },
        None => NodeState { ready: false, reason: "the kubelet has not reported yet".to_owned() },
    }
}

fn tls(admin: &Admin) -> Result<TlsConnector, Error> {
    let failed = |what: &str| Error::failed(format!("read the administrator's {what}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(admin.ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| failed("authority").because(error))?;
        roots.add(certificate).map_err(|error| failed("authority").because(error))?;
    }
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(admin.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| failed("certificate").because(error))?;
    let key = PrivateKeyDer::from_pem_slice(admin.key_pem.as_bytes()).map_err(|_| failed("key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("certificate").because(error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| failed("certificate").because(error))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to one API server, whatever a request's URI says.
#[derive(Clone)]
struct Connector {
    target: (IpAddr, u16),
    dial: Dial,
    tls: TlsConnector,
}

/// A connection over TLS, as hyper wants it.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let Self { target, dial, tls } = self.clone();
        Box::pin(async move {
            let socket = if dial.is_empty() {
                SocketAddr::new(target.0, target.1)
            } else {
                dial.get(&target).copied().ok_or_else(|| {
                    std::io::Error::other(format!(
                        "the lab does not know {}:{}",
                        target.0, target.1
                    ))
                })?
            };
            let tcp = tokio::time::timeout(PATIENCE, TcpStream::connect(socket))
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            tcp.set_nodelay(true)?;
            let stream = tls.connect(ServerName::from(target.0), tcp).await?;
            Ok(Stream(TokioIo::new(stream)))
        })
    }
}
