//! From a gRPC status or a broken connection to the client's error.

use std::error::Error as StdError;

use tonic::{Code, Status};

use super::call::Call;
use super::dial::DialError;
use super::tls::PIN_TEXT;
use crate::error::{Error, ErrorKind};
use crate::proto::common;

/// What an alert of the node means.
const REFUSED: &str = "the node refused the client's certificate";

/// Texts by which a node says that it is not that far yet.
const NOT_YET: [&str; 4] = [
    "bootstrap is not available yet",
    "time is not in sync yet",
    "machine type is not set",
    "etcd is not running",
];

/// Texts by which a node says that it does something else.
const BUSY: [&str; 3] = ["another apply", "in progress", "already applied"];

/// A failure that gRPC reports.
pub(super) fn status(call: &Call, status: &Status) -> Error {
    match status.source() {
        Some(source) => transport(source, call.name).after_sending(call),
        None => match misread(status.message()) {
            Some(text) => Error::protocol(call.name, text).maybe_applied(call.changes),
            None => answered(call, status.code(), status.message()),
        },
    }
}

/// What this side of the connection says about an answer that it cannot read; none for the words
/// of a node.
fn misread(text: &str) -> Option<String> {
    if text.starts_with("Error, decoded message length too large") {
        return Some("the answer is longer than 32 MiB".to_owned());
    }
    if text.starts_with("failed to decode Protobuf message") || text.starts_with("Missing response")
    {
        return Some("the answer is not of the machine API".to_owned());
    }
    let (_, status) = text
        .strip_prefix("protocol error: received message with invalid compression flag")?
        .split_once("while receiving response with status: ")?;
    Some(format!("the peer does not answer as a node does: HTTP status {status}"))
}

/// A failure of the connection.
pub(super) fn transport(error: &(dyn StdError + 'static), operation: &'static str) -> Error {
    let chain = chain(error);
    for link in &chain {
        if let Some(error) = link.downcast_ref::<DialError>() {
            return dialled(error, operation);
        }
        if link.downcast_ref().is_some_and(hyper::Error::is_canceled) {
            let text = "the connection broke before anything was sent";
            return Error::new(ErrorKind::Unreachable, operation, text).stale();
        }
    }
    let text = chain.last().map(ToString::to_string).unwrap_or_default();
    let text = if text.contains("without sending TLS close_notify") {
        "the node closed it".to_owned()
    } else {
        text
    };
    // A certificate is refused after the client's part of the handshake is over.
    if let Some(alert) = chain.iter().map(ToString::to_string).find_map(|text| alert(&text)) {
        let text = format!("{REFUSED}: {alert}");
        return Error::new(ErrorKind::Tls, operation, text);
    }
    Error::new(ErrorKind::Interrupted, operation, format!("the connection broke: {text}"))
}

/// The name of an alert in a text of the TLS library.
fn alert(text: &str) -> Option<String> {
    let (_, name) = text.split_once("received fatal alert: ")?;
    let mut out = String::new();
    for c in name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ' ') {
        if c.is_ascii_uppercase() && !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    Some(out.replace("c a", "ca"))
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut current = error;
    while all.len() < 16 {
        // An I/O error hides what it carries from `source`.
        let inner = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        let Some(next) = inner.or_else(|| current.source()) else { break };
        all.push(next);
        current = next;
    }
    all
}

fn dialled(error: &DialError, operation: &'static str) -> Error {
    let kind = match error {
        DialError::Unmapped(_) => ErrorKind::Config,
        DialError::Tcp(..) | DialError::Slow(_) => ErrorKind::Unreachable,
        DialError::NoHttp2 => ErrorKind::Tls,
        DialError::Handshake(io) => match io.get_ref().and_then(|e| e.downcast_ref()) {
            Some(rustls::Error::General(text)) if text.starts_with(PIN_TEXT) => {
                return Error::new(ErrorKind::Pin, operation, text.clone());
            }
            Some(error) => return refused(error, operation),
            // Cut in the handshake: the node is changing its mode, or restarts.
            None => ErrorKind::Unreachable,
        },
    };
    Error::new(kind, operation, error.to_string())
}

/// A handshake that one side refused.
fn refused(error: &rustls::Error, operation: &'static str) -> Error {
    use rustls::CertificateError as Reason;

    let text = match error {
        rustls::Error::InvalidCertificate(Reason::UnknownIssuer | Reason::BadSignature) => {
            "the node's certificate is of another authority: it is in maintenance mode, or belongs \
             to another cluster"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            Reason::NotValidForName | Reason::NotValidForNameContext { .. },
        ) => "the node's certificate does not name this address".to_owned(),
        rustls::Error::InvalidCertificate(Reason::Expired | Reason::ExpiredContext { .. }) => {
            "the node's certificate has expired, or the clocks disagree".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Reason::NotValidYet | Reason::NotValidYetContext { .. },
        ) => "the node's certificate is not valid yet: the clocks disagree".to_owned(),
        other => match alert(&other.to_string()) {
            Some(alert) => format!("{REFUSED}: {alert}"),
            None => format!("TLS handshake: {other}"),
        },
    };
    Error::new(ErrorKind::Tls, operation, text)
}

impl Error {
    /// The request may have left before the failure, unless the failure is one of dialling.
    fn after_sending(self, call: &Call) -> Self {
        let sent = !matches!(
            self.kind(),
            ErrorKind::Config | ErrorKind::Unreachable | ErrorKind::Tls | ErrorKind::Pin
        );
        self.maybe_applied(sent && call.changes)
    }
}

/// A node's own answer.
fn answered(call: &Call, code: Code, message: &str) -> Error {
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let kind = match code {
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::Unimplemented if says(&NOT_YET) => ErrorKind::NotReady,
        Code::Unimplemented => ErrorKind::Unimplemented,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::FailedPrecondition if says(&NOT_YET) => ErrorKind::NotReady,
        Code::FailedPrecondition if says(&BUSY) => ErrorKind::Busy,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::Aborted | Code::ResourceExhausted => ErrorKind::Busy,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Cancelled => ErrorKind::Interrupted,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ErrorKind::Server,
    };
    // A control plane that forwards has not reached the target.
    let unsent = message.contains("Error while dialing");
    let uncertain = matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Interrupted | ErrorKind::Server
    );
    let error = match (kind, call.since) {
        (ErrorKind::Unimplemented, Some(since)) if message.starts_with("unknown ") => {
            let text = format!("{message}: Talos has it since {since}");
            Error::new(kind, call.name, text)
        }
        _ => Error::new(kind, call.name, message),
    };
    error.by_server().maybe_applied(call.changes && uncertain && !unsent)
}

/// A failure that an envelope tells of while the call itself went well.
pub(super) fn envelope(call: &Call, metadata: &common::Metadata) -> Option<Error> {
    if let Some(status) = &metadata.status
        && status.code != 0
    {
        return Some(answered(call, Code::from(status.code), &status.message));
    }
    (!metadata.error.is_empty()).then(|| answered(call, Code::Unknown, &metadata.error))
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn a_nodes_answer_decides_whether_a_call_had_an_effect() {
        let cases = [
            (Code::PermissionDenied, "not authorized", ErrorKind::PermissionDenied, false),
            (
                Code::FailedPrecondition,
                "bootstrap is not available yet",
                ErrorKind::NotReady,
                false,
            ),
            (
                Code::Unavailable,
                "connection error: desc = \"transport: Error while dialing: dial tcp\"",
                ErrorKind::Unavailable,
                false,
            ),
            (Code::Unavailable, "error reading from server: EOF", ErrorKind::Unavailable, true),
            (Code::Unknown, "boom", ErrorKind::Server, true),
            (Code::AlreadyExists, "not empty", ErrorKind::AlreadyExists, false),
        ];
        for (code, message, kind, applied) in cases {
            let error = status(&call::BOOTSTRAP, &Status::new(code, message));
            assert_eq!((error.kind(), error.may_have_been_applied()), (kind, applied), "{message}");
            let error = status(&call::VERSION, &Status::new(code, message));
            assert!(!error.may_have_been_applied(), "{message}");
        }
    }

    #[test]
    fn a_call_that_is_too_new_says_since_when_it_exists() {
        let status_ = Status::new(Code::Unimplemented, "unknown service machine.ImageService");
        let call = Call { since: Some("1.13"), ..call::VERSION };
        let error = status(&call, &status_);
        assert_eq!(error.kind(), ErrorKind::Unimplemented);
        assert!(error.message().ends_with("Talos has it since 1.13"), "{error}");
    }

    #[test]
    fn an_envelope_is_looked_into() {
        let mut metadata = common::Metadata { hostname: "a".into(), ..Default::default() };
        assert!(envelope(&call::VERSION, &metadata).is_none());
        metadata.error = "rpc error: code = Unavailable desc = gone".into();
        let error = envelope(&call::VERSION, &metadata).unwrap();
        assert_eq!(error.kind(), ErrorKind::Server);
        metadata.status = Some(crate::proto::google::rpc::Status {
            code: 14,
            message: "gone".into(),
            details: Vec::new(),
        });
        let error = envelope(&call::VERSION, &metadata).unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "gone"));
    }

    #[test]
    fn alerts_are_said_in_words() {
        let text = "received fatal alert: CertificateRequired";
        assert_eq!(alert(text).as_deref(), Some("certificate required"));
        assert_eq!(alert("received fatal alert: UnknownCA").as_deref(), Some("unknown ca"));
        assert_eq!(alert("connection reset"), None);
    }
}
