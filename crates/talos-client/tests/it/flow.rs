//! Long streams in constant memory: what is under way between both ends has a bound, however slow one of
//! them is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use talos_client::proto::common;
use talos_client::{Client, ClientConfig, Dialer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::Sleep;

/// Length of a snapshot.
const LENGTH: u64 = 96 << 20;
/// What may be under way: windows of HTTP/2, buffers of sockets, a few chunks.
const UNDER_WAY: u64 = 24 << 20;
const CHUNK: usize = 32 << 10;
/// The slow end waits after so many bytes.
const PAUSE: u64 = 2 << 20;

/// How many bytes have begun, and how many have arrived.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    arrived: AtomicU64,
    most: AtomicU64,
}

impl Counts {
    fn begin(&self, bytes: usize) {
        let begun = self.begun.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64;
        let arrived = self.arrived.load(Ordering::SeqCst);
        self.most.fetch_max(begun.saturating_sub(arrived), Ordering::SeqCst);
    }

    /// Whether the slow end should wait now.
    fn arrive(&self, bytes: usize) -> bool {
        let before = self.arrived.fetch_add(bytes as u64, Ordering::SeqCst);
        before / PAUSE != (before + bytes as u64) / PAUSE
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap());
    out.put_slice(message);
    out.freeze()
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Takes an upload slowly, or sends a snapshot.
async fn answer(request: hyper::Request<Incoming>, counts: Arc<Counts>) -> http::Response<Body> {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let end = futures_util::stream::iter([Ok(Frame::trailers(trailers))]);
    let is_upload = request.uri().path().ends_with("/EtcdRecover");
    let mut upload = request.into_body();
    let body = if is_upload {
        while let Some(Ok(frame)) = upload.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if counts.arrive(data.len()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let reply = framed(&[0x0a, 0x00]);
        let data = futures_util::stream::iter([Ok(Frame::data(reply))]);
        StreamBody::new(data.chain(end)).boxed_unsync()
    } else {
        let data = common::Data { metadata: None, bytes: vec![7; CHUNK].into() };
        let data = framed(&data.encode_to_vec());
        let frames = futures_util::stream::iter(0..LENGTH / CHUNK as u64).map(move |_| {
            counts.begin(CHUNK);
            Ok(Frame::data(data.clone()))
        });
        StreamBody::new(frames.chain(end)).boxed_unsync()
    };
    let mut response = http::Response::new(body);
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

async fn node(counts: Arc<Counts>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(super::peer::settings(&["h2"]));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls.accept(stream).await.unwrap();
        let service = hyper::service::service_fn(move |request| {
            let counts = Arc::clone(&counts);
            async move { Ok::<_, Infallible>(answer(request, counts).await) }
        });
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.serve_connection(TokioIo::new(stream), service).await.ok();
    });
    let config = ClientConfig::maintenance([10, 5, 0, 11].into());
    Client::connect(config.dialer(Dialer::by(move |_, _| Some(at)))).await.unwrap()
}

/// A file on a slow disk.
struct Slow {
    counts: Arc<Counts>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.counts.arrive(bytes.len()) {
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(2))));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A snapshot that is read.
struct Source(Arc<Counts>);

impl AsyncRead for Source {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let left = LENGTH - self.0.begun.load(Ordering::SeqCst);
        let length = usize::try_from(left).unwrap().min(buffer.remaining());
        buffer.initialize_unfilled_to(length).fill(7);
        buffer.advance(length);
        self.0.begin(length);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_no_faster_than_it_is_written() {
    let counts = Arc::new(Counts::default());
    let client = node(Arc::clone(&counts)).await;
    let target = Slow { counts: Arc::clone(&counts), pause: None };
    let snapshot = client.etcd_snapshot(target).await.unwrap();
    assert_eq!((snapshot.length, snapshot.verified), (LENGTH, false));
    let most = counts.most.load(Ordering::SeqCst);
    assert!(most < UNDER_WAY, "{most} bytes were under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_sent_no_faster_than_it_is_taken() {
    let counts = Arc::new(Counts::default());
    let client = node(Arc::clone(&counts)).await;
    client.etcd_recover(Source(Arc::clone(&counts))).await.unwrap();
    assert_eq!(counts.begun.load(Ordering::SeqCst), LENGTH);
    let most = counts.most.load(Ordering::SeqCst);
    assert!(most < UNDER_WAY, "{most} bytes were under way");
}
