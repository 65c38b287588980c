//! One call to one endpoint: the request, its answer, and what a failure tells of it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Builder;
use http::{HeaderValue, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Endpoint, Parameters};
use crate::error::{Error, ErrorKind, Result, classify};
use crate::transport::{Lost, Payload, Reply};

/// Where the API begins.
pub(super) const API: &str = "/api2/json";

#[derive(Deserialize, Default)]
struct Refusal {
    message: Option<String>,
    #[serde(default)]
    errors: Option<BTreeMap<String, Value>>,
}

/// The answer, or the error and whether anything of the call was sent.
pub(crate) type Sent<T> = std::result::Result<T, (Error, bool)>;

/// Headers that prove who calls.
pub(crate) type Credentials = Vec<(&'static str, String)>;

/// Percent-encodes everything but the unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn form(parameters: &Parameters<'_>) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
        .collect();
    pairs.join("&")
}

pub(crate) async fn send(
    endpoint: &Endpoint,
    method: &Method,
    path: &str,
    parameters: &Parameters<'_>,
    credentials: Credentials,
) -> Sent<Bytes> {
    let operation = format!("{method} {path}");
    let form = form(parameters);
    let request = if *method == Method::POST || *method == Method::PUT {
        let request = request(method, path, credentials)?;
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Payload::text(form))
    } else if form.is_empty() {
        request(method, path, credentials)?.body(Payload::text(""))
    } else {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        request(method, &format!("{path}?{form}"), credentials)?.body(Payload::text(""))
    };
    let request = request.map_err(unwritten)?;
    answer(endpoint, request, &operation, endpoint.timeout)
        .await
        .map_err(|(error, sent)| (partly_applied(method, error), sent))
}

/// A request without its body.
pub(crate) fn request(method: &Method, path: &str, credentials: Credentials) -> Sent<Builder> {
    // A path is encoded already; what is not would be cut or read as something else.
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err((Error::config(format!("the path {path:?} is not encoded")), false));
    }
    let mut request = http::Request::builder().method(method).uri(format!("{API}{path}"));
    for (name, value) in credentials {
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| (Error::config("the credentials do not fit into a header"), false))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    Ok(request)
}

pub(crate) fn unwritten(source: http::Error) -> (Error, bool) {
    (Error::config("the call cannot be written").because(source), false)
}

/// Sends a request and reads what comes back.
pub(crate) async fn answer(
    endpoint: &Endpoint,
    request: http::Request<Payload>,
    operation: &str,
    timeout: Duration,
) -> Sent<Bytes> {
    let write = *request.method() != Method::GET;
    let lost = |lost: Lost| {
        let sent = lost.was_sent();
        let (kind, text) = match &lost {
            Lost::Connect(source) if is_certificate(source) => {
                (ErrorKind::Tls, "the certificate is not trusted")
            }
            Lost::Late => (ErrorKind::Unreachable, "no answer in time"),
            Lost::TooLong => (ErrorKind::Protocol, "the answer is too long"),
            _ if !sent => (ErrorKind::Unreachable, "no connection"),
            _ => (ErrorKind::Unreachable, "the connection broke before the answer was whole"),
        };
        let error = Error::new(kind, operation.to_owned(), text).at(&endpoint.name);
        (error.applied(write && sent).because(lost), sent)
    };
    let reply = endpoint.transport.send(request, timeout).await.map_err(lost)?;
    if !(200..300).contains(&reply.status) {
        let applied = write && matches!(reply.status, 596..=599);
        let error = refusal(operation, &reply);
        return Err((error.at(&endpoint.name).applied(applied), true));
    }
    Ok(reply.body)
}

/// What an answer says.
pub(crate) fn parse<T: DeserializeOwned>(
    endpoint: &Endpoint,
    bytes: &[u8],
    operation: &str,
    write: bool,
) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| {
        let text = "the answer has another shape";
        let error = Error::new(ErrorKind::Protocol, operation, text);
        error.at(&endpoint.name).applied(write).because(source)
    })
}

/// A change of several keys is not atomic, and a locked command may be cut off in its middle.
fn partly_applied(method: &Method, error: Error) -> Error {
    let cut = *method != Method::GET && error.text().contains("aborting");
    if cut || (*method == Method::PUT && error.kind() == ErrorKind::Server) {
        return error.applied(true);
    }
    error
}

fn is_certificate(source: &std::io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
            return true;
        }
        // The source of an I/O error is that of the error it wraps, not the wrapped one itself.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(wrapped) = wrapped {
            cause = Some(wrapped);
            continue;
        }
        cause = error.source();
    }
    false
}

/// The longest text of a refusal that is no answer of the API: that of something in between.
const LONGEST: usize = 300;

fn refusal(operation: &str, reply: &Reply) -> Error {
    let status = reply.status;
    let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    let parameters: BTreeMap<String, String> = refusal
        .errors
        .unwrap_or_default()
        .into_iter()
        .map(|(name, text)| match text {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect();
    let text = refusal.message.unwrap_or_else(|| told_beside(reply));
    let kind = classify(status, &text, &parameters);
    Error::new(kind, operation, text).answered(status, parameters)
}

/// What a refusal without a message says: a line of plain text, or what stands beside the status.
fn told_beside(reply: &Reply) -> String {
    let body = std::str::from_utf8(&reply.body).unwrap_or_default().trim();
    let is_line = !body.is_empty() && !body.starts_with(['{', '<']) && body.len() <= LONGEST;
    let text = if is_line { body } else { reply.reason.trim() };
    if text.is_empty() {
        return format!("refused with status {}", reply.status);
    }
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
