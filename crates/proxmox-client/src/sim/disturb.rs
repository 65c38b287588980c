//! What a fault makes of a call and of its answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::fail::Fail;
use super::fault::FaultAction;
use super::http::Body;
use super::outage;
use super::server::Inner;

/// What was decided, and what else stands in the answer.
pub(super) type Answered = (Result<Value, Fail>, Vec<(&'static str, Value)>);

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut on request")
}

/// Faults that keep the call from being executed.
pub(super) async fn before(
    inner: &Arc<Inner>,
    fault: Option<&FaultAction>,
) -> Option<Result<Answered, io::Error>> {
    let refuse = |fail: Fail| Some(Ok((Err(fail), Vec::new())));
    match fault? {
        FaultAction::Refuse { status, message } => {
            refuse(Fail::status(*status, format!("{message}\n")))
        }
        FaultAction::CutBeforeCall => Some(Err(cut())),
        FaultAction::Delay(time) => {
            tokio::time::sleep(*time).await;
            None
        }
        FaultAction::ProxyUnreachable => refuse(Fail::empty(595, "No route to host")),
        FaultAction::LockTimeout => {
            refuse(Fail::die("cfs-lock 'domain-sim' error: got lock request timeout"))
        }
        FaultAction::Unauthorized => refuse(Fail::unauthorized("Authentication failed!")),
        FaultAction::NodeDown { node, time } => {
            outage::interrupt(inner, node, *time);
            None
        }
        _ => None,
    }
}

/// Faults that hide the answer of an executed call.
pub(super) fn after(
    inner: &Arc<Inner>,
    fault: Option<&FaultAction>,
    path: &[String],
    outcome: Answered,
) -> Result<Answered, io::Error> {
    match fault {
        Some(FaultAction::CutBeforeReply) => Err(cut()),
        Some(FaultAction::ProxyLost) => {
            Ok((Err(Fail::empty(596, "Connection timed out")), Vec::new()))
        }
        Some(FaultAction::ProxyOther) => {
            Ok((Err(Fail::empty(599, "Too many redirections")), Vec::new()))
        }
        Some(FaultAction::NodeDies { node, time }) => {
            outage::interrupt(inner, node, *time);
            match path {
                [nodes, name, ..] if nodes == "nodes" && name == node => {
                    Ok((Err(Fail::empty(596, "Connection timed out")), Vec::new()))
                }
                _ => Ok(outcome),
            }
        }
        _ => Ok(outcome),
    }
}

/// An answer that somebody asked for.
pub(super) fn given(status: u16, body: Vec<u8>) -> Response<Body> {
    let whole = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed(whole));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn cut_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("4096"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"{\"data\":"))), Err(cut())];
    Response::from_parts(parts, BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames))))
}
