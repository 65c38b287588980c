//! A failure as it is printed: what happened, the causes, what to do next.

use std::fmt::Write as _;

use crate::ops::{Error, ErrorKind};

/// The failure as text for standard error.
pub fn text(error: &Error) -> String {
    let mut out = String::new();
    for detail in error.details() {
        let _ = writeln!(out, "{}", detail.trim_end());
    }
    let prefix = match error.kind() {
        ErrorKind::Bug => "bug",
        ErrorKind::Interrupted => "stopped",
        ErrorKind::Refused => "refused",
        ErrorKind::Locked => "locked",
        _ => "error",
    };
    let _ = writeln!(out, "{prefix}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let _ = writeln!(out, "  caused by: {cause}");
        source = cause.source();
    }
    for hint in error.hints() {
        let _ = writeln!(out, "  help: {hint}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_advice_follow_the_message() {
        let error = Error::failed("read node list").because("connection refused").hint("start it");
        assert_eq!(
            text(&error),
            "error: read node list\n  caused by: connection refused\n  help: start it\n"
        );
    }
}
