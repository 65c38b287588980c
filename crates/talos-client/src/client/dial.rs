//! The one place where sockets are opened: the address that names a node is apart from the socket.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::first::First;
use super::tls::Fingerprint;

/// Maps the address that names a node to the socket that is connected to.
#[derive(Clone, Default)]
pub struct Dialer(Way);

#[derive(Clone, Default)]
enum Way {
    #[default]
    Direct,
    Mapped(Arc<BTreeMap<(IpAddr, u16), SocketAddr>>),
    By(Arc<dyn Fn(IpAddr, u16) -> Option<SocketAddr> + Send + Sync>),
}

impl Dialer {
    /// Every address is its own socket.
    pub fn direct() -> Self {
        Self::default()
    }

    /// Only the addresses of the map can be dialled; nothing is ever sent to any other.
    pub fn mapped(map: BTreeMap<(IpAddr, u16), SocketAddr>) -> Self {
        Self(Way::Mapped(Arc::new(map)))
    }

    /// Asks a function at every connection; `None` refuses the address.
    pub fn by(
        function: impl Fn(IpAddr, u16) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self(Way::By(Arc::new(function)))
    }

    /// The socket of an address; none if it is not known.
    pub fn resolve(&self, address: IpAddr, port: u16) -> Option<SocketAddr> {
        match &self.0 {
            Way::Direct => Some(SocketAddr::new(address, port)),
            Way::Mapped(map) => map.get(&(address, port)).copied(),
            Way::By(function) => function(address, port),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Direct => f.write_str("Dialer(direct)"),
            Way::Mapped(map) => write!(f, "Dialer(map of {})", map.len()),
            Way::By(_) => f.write_str("Dialer(function)"),
        }
    }
}

/// Why there is no connection. Nothing of a call was sent.
#[derive(Debug)]
pub(crate) enum DialError {
    Unmapped(SocketAddr),
    Tcp(SocketAddr, io::Error),
    Slow(Duration),
    Handshake(io::Error),
    NoHttp2,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmapped(address) => {
                write!(f, "the dialler does not know {address}: no socket is mapped to it")
            }
            Self::Tcp(socket, error) => write!(f, "cannot connect to {socket}: {error}"),
            Self::Slow(limit) => write!(f, "no connection within {limit:?}"),
            Self::Handshake(error) => write!(f, "TLS handshake: {error}"),
            Self::NoHttp2 => f.write_str("TLS handshake: the peer does not speak HTTP/2"),
        }
    }
}

impl std::error::Error for DialError {}

/// A connection to a node.
pub(crate) type Connection = TokioIo<First<TlsStream<TcpStream>>>;

/// Opens connections for one node.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) dialer: Dialer,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) limit: Duration,
    pub(crate) seen: Arc<Mutex<Option<Fingerprint>>>,
}

impl Connector {
    async fn open(self) -> Result<Connection, DialError> {
        let limit = self.limit;
        match tokio::time::timeout(limit, self.connect()).await {
            Ok(done) => done,
            Err(_) => Err(DialError::Slow(limit)),
        }
    }

    async fn connect(self) -> Result<Connection, DialError> {
        let named = SocketAddr::new(self.address, self.port);
        let socket =
            self.dialer.resolve(self.address, self.port).ok_or(DialError::Unmapped(named))?;
        let tcp = |error| DialError::Tcp(socket, error);
        let stream = TcpStream::connect(socket).await.map_err(tcp)?;
        stream.set_nodelay(true).map_err(tcp)?;
        watched(&stream).map_err(tcp)?;
        let name = ServerName::IpAddress(self.address.into());
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(DialError::Handshake)?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(b"h2".as_slice()) {
            return Err(DialError::NoHttp2);
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let fingerprint = leaf.and_then(|leaf| Fingerprint::of_certificate(leaf).ok());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
        Ok(TokioIo::new(First::of(stream).await.map_err(DialError::Handshake)?))
    }
}

/// Lets the kernel find out that a peer is gone: a node that loses its power sends no farewell.
fn watched(stream: &TcpStream) -> io::Result<()> {
    let probes = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes)
}

impl Service<http::Uri> for Connector {
    type Response = Connection;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}
