//! Streams of a node against a bare tonic client, and a snapshot of etcd in constant memory; the server is
//! a process of its own that answers every call with frames made before.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use talos_client::proto::{common, machine};
use talos_client::{Client, ClientConfig, Dialer};
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use super::measure::{forget_peak, memory, ratio_of_times, runtime};
use super::own::{Own, acceptor, tell};
use super::served::Place;
use super::{Better, Line, Scale};

/// Bytes of a frame, as nodes send them.
const CHUNK: u32 = 32 << 10;
const HOST: [u8; 4] = [127, 0, 0, 1];
const READ: &str = "/machine.MachineService/Read";

/// The server; it ends with this.
struct Served(Own<Place>);

impl Served {
    fn start(bytes: u64) -> anyhow::Result<Self> {
        Ok(Self(Own::start("--serve-stream", &bytes.to_string())?))
    }

    fn at(&self) -> SocketAddr {
        SocketAddr::from((HOST, self.0.place.port))
    }

    fn client(&self) -> anyhow::Result<Client> {
        let at = self.at();
        let config =
            ClientConfig::maintenance(HOST.into()).dialer(Dialer::by(move |_, _| Some(at)));
        Ok(Client::new(config)?)
    }
}

/// A message with its head.
fn framed(message: &[u8]) -> anyhow::Result<Bytes> {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len())?);
    out.put_slice(message);
    Ok(out.freeze())
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Every call is answered with so many bytes in frames; an upload is read to its end before.
async fn answer(
    request: hyper::Request<Incoming>,
    data: Bytes,
    frames: u64,
) -> http::Response<Body> {
    let upload = request.uri().path().ends_with("/EtcdRecover");
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let (data, count) = match upload {
        // An envelope with one empty element.
        true => (framed(&[0x0a, 0x00]).unwrap_or_default(), 1),
        false => (data, frames),
    };
    let data = futures_util::stream::iter(0..count).map(move |_| Ok(Frame::data(data.clone())));
    let end = futures_util::stream::iter([Ok(Frame::trailers(trailers))]);
    let body = StreamBody::new(data.chain(end)).boxed_unsync();
    let mut response = http::Response::new(body);
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

/// The server's process: tells its place in one line, and ends with its standard input.
///
/// # Errors
/// There is no socket.
pub fn serve_stream(bytes: u64) -> anyhow::Result<()> {
    let chunk = Bytes::from(vec![0x5a; usize::try_from(CHUNK)?]);
    let data = framed(&common::Data { metadata: None, bytes: chunk }.encode_to_vec())?;
    let (acceptor, ca) = acceptor(&[b"h2"])?;
    runtime()?.block_on(async move {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((HOST, 0))).await?;
        let place = Place { port: listener.local_addr()?.port(), ca };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                drop(socket.set_nodelay(true));
                let (acceptor, data) = (acceptor.clone(), data.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        let (data, frames) = (data.clone(), bytes / u64::from(CHUNK));
                        async move { Ok::<_, Infallible>(answer(request, data, frames).await) }
                    });
                    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        tell(&place).await
    })
}

/// A bare tonic client over TLS, with the windows that ours has.
fn bare(served: &Served) -> anyhow::Result<tonic::transport::Channel> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(served.0.place.ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (tls, at) = (TlsConnector::from(Arc::new(config)), served.at());
    let dial = tower::service_fn(move |_: http::Uri| {
        let tls = tls.clone();
        async move {
            let socket = tokio::net::TcpStream::connect(at).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::IpAddress(std::net::IpAddr::from(HOST).into());
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, socket).await?))
        }
    });
    let endpoint = Endpoint::try_from(format!("https://{at}"))?
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    Ok(endpoint.connect_with_connector_lazy(dial))
}

/// Our stream against that of a bare client.
pub(super) fn against_grpc(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (megabytes, rounds) = scale.pick((512_u32, 7), (4, 1));
    let bytes = u64::from(megabytes) << 20;
    let served = Served::start(bytes)?;
    let runtime = runtime()?;
    let client = runtime.block_on(async { served.client() })?;
    let ours = || {
        let begun = Instant::now();
        runtime.block_on(async {
            let mut stream = client.open_file("/x").await?;
            let mut all = 0;
            while let Some(chunk) = stream.next().await {
                all += u64::try_from(chunk?.len())?;
            }
            ensure!(all == bytes, "{all} bytes of {bytes}");
            anyhow::Ok(())
        })?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let channel = runtime.block_on(async { bare(&served) })?;
    let theirs = || {
        let begun = Instant::now();
        runtime.block_on(async {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await?;
            let codec: ProstCodec<machine::ReadRequest, common::Data> = ProstCodec::default();
            let request = tonic::Request::new(machine::ReadRequest { path: "/x".into() });
            let path = http::uri::PathAndQuery::from_static(READ);
            let mut stream = grpc.server_streaming(request, path, codec).await?.into_inner();
            let mut all = 0;
            while let Some(frame) = stream.message().await? {
                all += u64::try_from(frame.bytes.len())?;
            }
            ensure!(all == bytes, "{all} bytes of {bytes}");
            anyhow::Ok(())
        })?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let ratio = 1.0 / ratio_of_times(rounds, ours, theirs)?;
    let note = format!(
        "{}{megabytes} MiB in frames of {} KiB over TLS; bytes a second, bare tonic client with the same \
         windows = 1",
        build(),
        CHUNK >> 10
    );
    let line = Line::new("stream-vs-grpc", ratio, "ratio", Better::More).target(0.95).note(note);
    Ok(vec![line])
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "not a release build; " } else { "" }
}

/// Memory that a snapshot of etcd takes, on its way down and up again.
pub(super) fn snapshot(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let megabytes = scale.pick(1024_u32, 8);
    let bytes = u64::from(megabytes) << 20;
    let served = Served::start(bytes)?;
    let runtime = runtime()?;
    let client = runtime.block_on(async { served.client() })?;
    let run = |what: &str, work: &dyn Fn() -> anyhow::Result<()>| {
        forget_peak()?;
        let (before, begun) = (memory("self", "VmRSS")?, Instant::now());
        work()?;
        let grown = (memory("self", "VmHWM")? - before).max(0.0);
        let rate = f64::from(megabytes) / begun.elapsed().as_secs_f64();
        let note = format!("{}{what} {megabytes} MiB, {rate:.0} MiB a second", build());
        anyhow::Ok((grown, note))
    };
    let (down, taken) = run("RSS above that of before while taking", &|| {
        let snapshot = runtime.block_on(client.etcd_snapshot(tokio::io::sink()))?;
        ensure!(snapshot.length == bytes, "{} bytes of {bytes}", snapshot.length);
        Ok(())
    })?;
    let (up, sent) = run("RSS above that of before while uploading", &|| {
        use tokio::io::AsyncReadExt as _;
        let source = tokio::io::repeat(0x5a).take(bytes);
        Ok(runtime.block_on(client.etcd_recover(source))?)
    })?;
    Ok(vec![
        Line::new("etcd-snapshot-1g", down, "MB", Better::Less).target(32.0).note(taken),
        Line::new("etcd-restore-1g", up, "MB", Better::Less).target(32.0).note(sent),
    ])
}
