//! gRPC over HTTP/2: framing, status, deadlines.

use std::convert::Infallible;
use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::api;
use super::node::NodeInner;
use super::snapshot::Upload;
use super::wire;

/// Status codes of gRPC.
pub(crate) mod code {
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const INVALID_ARGUMENT: i32 = 3;
    pub(crate) const DEADLINE_EXCEEDED: i32 = 4;
    pub(crate) const NOT_FOUND: i32 = 5;
    pub(crate) const ALREADY_EXISTS: i32 = 6;
    pub(crate) const PERMISSION_DENIED: i32 = 7;
    pub(crate) const FAILED_PRECONDITION: i32 = 9;
    pub(crate) const UNIMPLEMENTED: i32 = 12;
    pub(crate) const INTERNAL: i32 = 13;
    pub(crate) const UNAVAILABLE: i32 = 14;
}

/// Names of the codes, by number.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

const MAX_REQUEST: usize = 64 << 20;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Code.
    pub(crate) code: i32,
    /// Message.
    pub(crate) message: String,
}

impl Status {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn denied() -> Self {
        Self::new(code::PERMISSION_DENIED, "not authorized")
    }

    /// As Go prints it.
    pub(crate) fn text(&self) -> String {
        let name = usize::try_from(self.code)
            .ok()
            .and_then(|c| CODES.get(c))
            .copied()
            .unwrap_or("Unknown");
        format!("rpc error: code = {name} desc = {}", self.message)
    }
}

/// A stream of messages.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<Value, Status>> + Send>>;

/// An answer.
pub(crate) enum Reply {
    /// One message.
    One(Value),
    /// Any number of messages.
    Many(Frames),
}

impl Reply {
    /// A stream of these messages that ends well.
    pub(crate) fn list(frames: Vec<Value>) -> Self {
        Self::Many(Box::pin(futures_util::stream::iter(frames.into_iter().map(Ok))))
    }
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Roles.
    pub(crate) roles: Vec<String>,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Path of the method.
    pub(crate) path: String,
    /// Messages of the client.
    pub(crate) requests: Vec<Value>,
    /// Request metadata.
    pub(crate) node: Vec<String>,
    /// Request metadata.
    pub(crate) nodes: Vec<String>,
    /// Who calls.
    pub(crate) peer: Peer,
    /// Cuts the connection of the call.
    pub(crate) cut: CancellationToken,
    /// What a stream of pieces brought, which is too long to be a message.
    pub(crate) upload: Option<Upload>,
}

impl Call {
    /// The first message.
    pub(crate) fn request(&self) -> &Value {
        self.requests.first().unwrap_or(&Value::Null)
    }

    /// A text of the first message.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.request().get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A boolean of the first message.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.request().get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Name of the method without its service.
    pub(crate) fn method(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Name of the service.
    pub(crate) fn service(&self) -> &str {
        self.path.trim_start_matches('/').split('/').next().unwrap_or_default()
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serve one connection until it ends or is cut.
pub(crate) async fn serve(
    node: Arc<NodeInner>,
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    peer: Peer,
    cut: CancellationToken,
) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (node, peer, cut) = (Arc::clone(&node), peer.clone(), cut.clone());
        async move { Ok::<_, Infallible>(answer(node, request, peer, cut).await) }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = cut.cancelled() => {}
        _ = connection => {}
    }
}

async fn answer(
    node: Arc<NodeInner>,
    request: Request<Incoming>,
    peer: Peer,
    cut: CancellationToken,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let minor = node.minor();
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let Some(method) = wire::table().method(&path, minor) else {
        let message = if wire::table().has_service(service, minor) {
            format!(
                "unknown method {} for service {service}",
                path.rsplit('/').next().unwrap_or_default()
            )
        } else {
            format!("unknown service {service}")
        };
        return refusal(&Status::new(code::UNIMPLEMENTED, message));
    };
    let taken = match path.ends_with("/EtcdRecover") {
        true => upload(body, &method.input).await.map(|upload| (Vec::new(), Some(upload))),
        false => match Limited::new(body, MAX_REQUEST).collect().await {
            Ok(bytes) => messages(&bytes.to_bytes(), &method.input).map(|list| (list, None)),
            Err(_) => Err(Status::new(code::INTERNAL, "request was cut")),
        },
    };
    let (requests, upload) = match taken {
        Ok(taken) => taken,
        Err(status) => return refusal(&status),
    };
    let values = |key: &str| {
        let all = head.headers.get_all(key).iter();
        all.filter_map(|v| v.to_str().ok()).map(str::to_owned).collect::<Vec<_>>()
    };
    let call =
        Call { requests, node: values("node"), nodes: values("nodes"), peer, cut, path, upload };
    let deadline = head.headers.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(timeout);
    let late = || Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded");
    let work = api::entry(&node, call);
    let result = match deadline {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late())),
        None => work.await,
    };
    match result {
        Ok(Reply::One(value)) => {
            let frame = frame(&wire::encode(&method.output, &value));
            stream_response(futures_util::stream::iter([
                Ok(Frame::data(frame)),
                Ok(Frame::trailers(trailers(None))),
            ]))
        }
        Ok(Reply::Many(frames)) => {
            stream_response(encoded(frames, method.output.clone(), deadline))
        }
        Err(status) => refusal(&status),
    }
}

/// A stream of pieces of bytes, taken one by one.
async fn upload(mut body: Incoming, kind: &str) -> Result<Upload, Status> {
    let cut = || Status::new(code::INTERNAL, "request was cut");
    let mut out = Upload::default();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| cut())?.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(length) = rest.get(1..5).and_then(|b| b.first_chunk::<4>()) {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut())? + 5;
            if length > MAX_REQUEST {
                return Err(Status::new(code::INTERNAL, "message is too long"));
            }
            if rest.len() < length {
                break;
            }
            for message in messages(&rest.split_to(length), kind)? {
                let piece = message.get("bytes").and_then(Value::as_str).unwrap_or_default();
                out.push(&STANDARD.decode(piece).unwrap_or_default());
            }
        }
    }
    Ok(out)
}

fn encoded(
    frames: Frames,
    output: String,
    deadline: Option<Duration>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let end = deadline.map(|limit| tokio::time::Instant::now() + limit);
    futures_util::stream::unfold(Some(frames), move |state| {
        let output = output.clone();
        async move {
            let mut frames = state?;
            let next = match end {
                Some(end) => {
                    tokio::time::timeout_at(end, frames.next()).await.unwrap_or_else(|_| {
                        Some(Err(Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded")))
                    })
                }
                None => frames.next().await,
            };
            Some(match next {
                Some(Ok(value)) => {
                    (Ok(Frame::data(frame(&wire::encode(&output, &value)))), Some(frames))
                }
                Some(Err(status)) => (Ok(Frame::trailers(trailers(Some(&status)))), None),
                None => (Ok(Frame::trailers(trailers(None))), None),
            })
        }
    })
}

fn stream_response(
    frames: impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn refusal(status: &Status) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.extend(trailers(Some(status)));
    response
}

fn trailers(status: Option<&Status>) -> HeaderMap {
    let mut out = HeaderMap::new();
    out.insert("grpc-status", HeaderValue::from(status.map_or(0, |s| s.code)));
    if let Some(status) = status {
        let text: String = status.message.bytes().map(percent).collect();
        if let Ok(value) = HeaderValue::from_str(&text) {
            out.insert("grpc-message", value);
        }
    }
    out
}

fn percent(byte: u8) -> String {
    if (0x20..=0x7e).contains(&byte) && byte != b'%' {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

fn messages(mut bytes: &[u8], kind: &str) -> Result<Vec<Value>, Status> {
    let broken = || Status::new(code::INTERNAL, "grpc: failed to unmarshal the received message");
    let mut out = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let [packed, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| broken())?;
        let (message, tail) = rest.split_at_checked(length).ok_or_else(broken)?;
        let value = if packed == 1 {
            let mut plain = Vec::new();
            let reader = flate2::read::GzDecoder::new(message);
            reader.take(MAX_REQUEST as u64).read_to_end(&mut plain).map_err(|_| broken())?;
            wire::decode(kind, &plain)
        } else {
            wire::decode(kind, message)
        };
        out.push(value.map_err(|_| broken())?);
        bytes = tail;
    }
    Ok(out)
}

fn timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number.saturating_mul(3600)),
        'M' => Duration::from_secs(number.saturating_mul(60)),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units() {
        assert_eq!(timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(timeout("x"), None);
    }

    #[test]
    fn messages_are_escaped() {
        let map = trailers(Some(&Status::new(3, "a\nb%")));
        assert_eq!(map.get("grpc-message").unwrap(), "a%0Ab%25");
    }
}
