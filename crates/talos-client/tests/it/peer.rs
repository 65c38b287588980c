//! Peers that are no nodes, or broken ones: nothing hangs, nothing grows, the reason is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use talos_client::api::{ApplyMode, RebootMode};
use talos_client::{Client, ClientConfig, Dialer, ErrorKind, Timeouts};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// What the peer answers to every call.
#[derive(Clone)]
enum Script {
    /// Messages, then trailers with a code, unless there is none.
    Grpc(Vec<Bytes>, Option<i32>),
    /// The same message without an end.
    Endless(Bytes),
    /// Nothing, after the headers.
    Stall,
    /// A page of a web server.
    Page(u16),
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn message(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(bytes.len()).unwrap());
    out.put_slice(bytes);
    out.freeze()
}

/// A field of bytes or of a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out
}

fn answer(script: Script) -> http::Response<Body> {
    let mut response = http::Response::builder().header("content-type", "application/grpc");
    let body: Body = match script {
        Script::Grpc(messages, code) => {
            let mut frames: Vec<_> =
                messages.into_iter().map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))).collect();
            if let Some(code) = code {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", code.into());
                frames.push(Ok(Frame::trailers(trailers)));
            }
            StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
        }
        Script::Endless(bytes) => {
            let frames = futures_util::stream::repeat(bytes).map(|b| Ok(Frame::data(b)));
            StreamBody::new(frames).boxed_unsync()
        }
        Script::Stall => StreamBody::new(futures_util::stream::pending()).boxed_unsync(),
        Script::Page(code) => {
            response = http::Response::builder().status(code).header("content-type", "text/html");
            http_body_util::Full::new(Bytes::from_static(b"<html>hello</html>")).boxed_unsync()
        }
    };
    response.body(body).unwrap()
}

pub(crate) fn settings(protocols: &[&str]) -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["10.5.0.11".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn peer(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(settings(&["h2"]));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, script) = (tls.clone(), script.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |_| {
                    let script = script.clone();
                    async move { Ok::<_, Infallible>(answer(script)) }
                });
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    address
}

fn config(peer: SocketAddr) -> ClientConfig {
    ClientConfig::maintenance([10, 5, 0, 11].into())
        .dialer(Dialer::by(move |_, _| Some(peer)))
        .timeouts(Timeouts {
            connect: Duration::from_secs(2),
            call: Duration::from_secs(2),
            long: Duration::from_secs(20),
            ..Timeouts::default()
        })
}

async fn client(script: Script) -> Client {
    Client::connect(config(peer(script).await)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_told() {
    let empty = Script::Grpc(vec![message(b"")], Some(0));
    let error = client(empty).await.version().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Protocol, "the node sent an empty answer")
    );

    let garbage = Script::Grpc(vec![message(&[0xff; 40])], Some(0));
    let error = client(garbage).await.version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");

    let nothing = Script::Grpc(Vec::new(), Some(0));
    let error = client(nothing).await.reboot(RebootMode::Default).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Protocol && error.may_have_been_applied(), "{error}");

    for code in [404, 502, 200] {
        let error = client(Script::Page(code)).await.version().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{code}: {error}");
        assert!(error.message().contains(&format!("HTTP status {code}")), "{error}");
        assert_eq!(error.server_text(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_an_envelope_is_an_error() {
    let status = [vec![0x08, 14], field(2, b"no route to host")].concat();
    let metadata = [field(1, b"10.5.0.12"), field(2, b"rpc error"), field(3, &status)].concat();
    let reply = field(1, &field(1, &metadata));
    let script = Script::Grpc(vec![message(&reply)], Some(0));
    let error = client(script).await.version().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "no route to host"));
    let script = Script::Grpc(vec![message(&field(1, &metadata))], Some(0));
    let error = client(script).await.read_file("/a").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "no route to host"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_cut_off() {
    let chunk = message(&field(2, &vec![0; 1 << 20]));
    let begun = Instant::now();
    let endless = client(Script::Endless(chunk)).await;
    let error = endless.kubeconfig().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("longer than"), "{error}");
    let error = endless.read_file("/dev/zero").await.unwrap_err();
    assert!(error.message().contains("longer than"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15));

    let resource = message(&field(1, &field(2, &field(2, &vec![b' '; 1 << 20]))));
    let error = client(Script::Endless(resource)).await.list("runtime", "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");

    let huge = message(&field(2, &vec![0; 33 << 20]));
    let error = client(Script::Grpc(vec![huge], Some(0))).await.version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_in_the_archive_stays_small() {
    use std::io::Write as _;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = [0u8; 512];
    header[..10].copy_from_slice(b"kubeconfig");
    header[124..135].copy_from_slice(b"07777777777");
    header[156] = b'0';
    encoder.write_all(&header).unwrap();
    for _ in 0..256 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let archive = encoder.finish().unwrap();
    let frame = message(&field(2, &archive));
    let error = client(Script::Grpc(vec![frame], Some(0))).await.kubeconfig().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("longer than"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_answer_ends_with_the_time_limit() {
    let stalled = client(Script::Stall).await;
    let begun = Instant::now();
    let error = stalled.version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let error = stalled.reboot(RebootMode::Default).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.may_have_been_applied(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_node_is_told_at_once() {
    // A web server that speaks TLS, but not HTTP/2.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(settings(&[]));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tls.accept(stream).await);
        }
    });
    let error = Client::connect(config(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.message().contains("HTTP/2"), "{error}");

    // A service that greets in the clear.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"SSH-2.0-OpenSSH_10.0\r\n").await.ok();
        }
    });
    let client = Client::new(config(address)).unwrap();
    let error = client.apply(b"secret", ApplyMode::Auto, false).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls | ErrorKind::Unreachable), "{error}");
    assert!(!error.may_have_been_applied());

    // Somebody who accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Instant::now();
    let error = Client::connect(config(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.message().contains("no connection within 2s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(listener);
}
