//! Answers, and how they go out.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::fault::Fault;
use super::lab_iso::LabIso;

/// Bytes of a piece of a body.
const PIECE: u64 = 1 << 16;

pub(super) type OutBody = UnsyncBoxBody<Bytes, io::Error>;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Box<HeaderMap>,
    pub(super) payload: Payload,
    /// The body's length is told, the body is not sent.
    pub(super) head_only: bool,
}

#[derive(Debug)]
pub(super) enum Payload {
    Bytes(Bytes),
    Iso { iso: LabIso, from: u64, length: u64 },
}

impl Payload {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Iso { length, .. } => *length,
        }
    }

    fn part(&self, at: u64, length: u64) -> Bytes {
        match self {
            Self::Bytes(bytes) => {
                let end = (at + length).min(bytes.len() as u64);
                let range = usize::try_from(at).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
                bytes.slice(range)
            }
            Self::Iso { iso, from, length: all } => iso.part(from + at, length.min(all - at)),
        }
    }
}

impl Reply {
    pub(super) fn new(status: u16, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let mut reply = Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: Box::default(),
            payload: Payload::Bytes(bytes.into()),
            head_only: false,
        };
        reply.set(header::CONTENT_TYPE.as_str(), media_type);
        reply
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    pub(super) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::new(status, "text/plain; charset=utf-8", "")
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::try_from(name), HeaderValue::from_str(value))
        {
            self.headers.insert(name, value);
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn without_body(mut self) -> Self {
        self.head_only = true;
        self
    }

    /// The response, gone wrong as asked.
    pub(super) fn into_response(mut self, fault: Option<Fault>) -> Response<OutBody> {
        let size = self.payload.size();
        if self.status != StatusCode::NO_CONTENT {
            self.set("content-length", &size.to_string());
        }
        let to_send = if self.head_only { 0 } else { size };
        let (end, cut) = match fault {
            Some(Fault::CutAfter(bytes)) if bytes < to_send => (bytes, true),
            _ => (to_send, false),
        };
        let corrupt = fault == Some(Fault::Corrupt);
        let payload = self.payload;
        let pieces = stream::unfold((payload, 0, false), move |(payload, at, done)| async move {
            if done {
                return None;
            }
            if at >= end {
                // The error must come after what precedes it has gone out.
                let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut on request");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                return cut.then_some((Err(broken), (payload, at, true)));
            }
            let mut piece = payload.part(at, PIECE.min(end - at));
            if corrupt && at + PIECE >= end {
                let mut bytes = piece.to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                piece = bytes.into();
            }
            let next = at + piece.len() as u64;
            Some((Ok(Frame::data(piece)), (payload, next, false)))
        });
        let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        response
    }
}
