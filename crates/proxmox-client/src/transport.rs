//! HTTP/1.1 over TLS to one endpoint, and what is known of a call whose answer was lost.
//!
//! A connection has no task of its own: the call that goes out over it drives it. A site is read in
//! thousands of small calls, and a hand-over between tasks for each part of each of them costs more
//! than the call itself.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream as _;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upload::Pieces;

/// The server closes idle connections after five seconds.
const IDLE: Duration = Duration::from_secs(4);
/// How often a connection that stands is probed.
const PROBED: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes: a list of 100,000 machines has about a third of it.
const LARGEST: usize = 64 << 20;
/// How often a call looks at its connection again before it waits: status and body of a small answer
/// arrive together and are handed over one after the other.
const LOOKS: u32 = 3;

type Wire = TokioIo<TlsStream<TcpStream>>;

/// Connections to one endpoint.
pub(crate) struct Transport {
    connect: TowerToHyperService<HttpConnector>,
    at: Uri,
    tls: TlsConnector,
    name: ServerName<'static>,
    host: HeaderValue,
    patience: Duration,
    /// The ones that nobody uses, the youngest last.
    idle: Mutex<Vec<Line>>,
}

/// One connection; the large part is boxed, for it is moved with every call.
struct Line {
    sender: SendRequest<Payload>,
    driver: Box<Connection<Wire, Payload>>,
    since: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// There was no connection: nothing was sent.
    Connect(io::Error),
    /// It did not come in time.
    Late,
    /// The connection broke.
    Broken(hyper::Error),
    /// It is longer than any that the API gives.
    TooLong,
}

impl Lost {
    /// Whether the server may have seen the call.
    pub(crate) fn was_sent(&self) -> bool {
        match self {
            Self::Connect(_) => false,
            Self::Late | Self::TooLong => true,
            Self::Broken(error) => !error.is_canceled(),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Late => f.write_str("the time for an answer is over"),
            Self::Broken(error) => error.fmt(f),
            Self::TooLong => write!(f, "the answer has more than {LARGEST} bytes"),
        }
    }
}

impl std::error::Error for Lost {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Late | Self::TooLong => None,
            Self::Broken(error) => error.source(),
        }
    }
}

impl Transport {
    /// Connections to `host`, at `mapped` where that is given, with the certificate of `host`.
    pub(crate) fn new(
        host: &str,
        port: u16,
        mapped: Option<SocketAddr>,
        mut tls: rustls::ClientConfig,
        patience: Duration,
    ) -> io::Result<Self> {
        let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let authority = format!("{host}:{port}");
        let at = mapped.map_or_else(|| authority.clone(), |address| address.to_string());
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut connect = HttpConnector::new();
        connect.set_nodelay(true);
        connect.set_keepalive(Some(PROBED));
        // Shared out among the addresses of a name.
        connect.set_connect_timeout(Some(patience));
        Ok(Self {
            connect: TowerToHyperService::new(connect),
            at: Uri::builder()
                .scheme("http")
                .authority(at)
                .path_and_query("/")
                .build()
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
            tls: TlsConnector::from(Arc::new(tls)),
            name: ServerName::try_from(name)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
            host: HeaderValue::from_str(&authority).map_err(wrong)?,
            patience,
            idle: Mutex::default(),
        })
    }

    /// Sends a request and reads its whole answer. Connecting has its own limit.
    pub(crate) async fn send(
        &self,
        mut request: Request<Payload>,
        limit: Duration,
    ) -> Result<Reply, Lost> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        let mut line = match self.kept().await {
            Some(line) => line,
            None => tokio::time::timeout(self.patience, Box::pin(self.open()))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(Lost::Connect)?,
        };
        let answer = tokio::time::timeout(limit, line.exchange(request)).await;
        let answer = answer.map_err(|_| Lost::Late)??;
        line.since = Instant::now();
        self.idle().push(line);
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that stands.
    async fn kept(&self) -> Option<Line> {
        loop {
            let mut line = {
                let mut idle = self.idle();
                if idle.first().is_some_and(|oldest| oldest.since.elapsed() >= IDLE) {
                    idle.retain(|line| line.since.elapsed() < IDLE);
                }
                idle.pop()?
            };
            if line.is_open().await {
                return Some(line);
            }
        }
    }

    async fn open(&self) -> io::Result<Line> {
        let socket = hyper::service::Service::call(&self.connect, self.at.clone());
        let socket = socket.await.map_err(io::Error::other)?.into_inner();
        let stream = self.tls.connect(self.name.clone(), socket).await?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Line { sender, driver: Box::new(driver), since: Instant::now() })
    }
}

impl Line {
    /// Whether a call can go out over it: what the server did in the meantime is seen here.
    async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            let runs = Pin::new(&mut *self.driver).poll(context).is_pending();
            let takes = matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(runs && takes)
        })
        .await
    }

    async fn exchange(&mut self, request: Request<Payload>) -> Result<Reply, Lost> {
        let Self { sender, driver, .. } = self;
        let sending = sender.send_request(request);
        let mut answer = pin!(async move {
            let response = sending.await.map_err(Lost::Broken)?;
            let (status, reason) = (response.status().as_u16(), reason_of(&response));
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| {
                error.downcast().map_or(Lost::TooLong, |broken| Lost::Broken(*broken))
            })?;
            Ok(Reply { status, reason, body: body.to_bytes() })
        });
        let mut runs = true;
        poll_fn(|context| {
            for _ in 0..LOOKS {
                // Why it ended is told by the answer.
                runs = runs && Pin::new(&mut **driver).poll(context).is_pending();
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// What stands beside the status: of a refusal without a body, all that the server says.
    pub(crate) reason: String,
    pub(crate) body: Bytes,
}

fn reason_of<T>(response: &hyper::Response<T>) -> String {
    if response.status().is_success() {
        return String::new();
    }
    let own = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let known = response.status().canonical_reason().unwrap_or_default();
    own.map_or(known.into(), |own| String::from_utf8_lossy(own.as_bytes())).into_owned()
}

/// The body of a request: text, or a file between two texts.
pub(crate) struct Payload {
    head: Bytes,
    file: Option<Pieces>,
    tail: Bytes,
    left: u64,
}

impl Payload {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let head = text.into();
        let left = size(&head);
        Self { head, file: None, tail: Bytes::new(), left }
    }

    pub(crate) fn file(head: String, file: Pieces, length: u64, tail: String) -> Self {
        let (head, tail) = (Bytes::from(head), Bytes::from(tail));
        let left = size(&head) + length + size(&tail);
        Self { head, file: Some(file), tail, left }
    }
}

fn size(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = loop {
            if !self.head.is_empty() {
                break std::mem::take(&mut self.head);
            }
            let Some(file) = self.file.as_mut() else { break std::mem::take(&mut self.tail) };
            match ready!(Pin::new(file).poll_next(context)) {
                // A file of no length comes as one piece of no length.
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => break piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.file = None,
            }
        };
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.left = self.left.saturating_sub(size(&bytes));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Exact: the server takes no body whose length is not told before it.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
