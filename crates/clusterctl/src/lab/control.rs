//! The client's side of the control socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{LabError, LabErrorKind};
use super::protocol::{Answer, Request};

/// How long an answer may take: a sync may make hundreds of sockets and several certificates.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 30;

fn unreachable(socket: &Path) -> LabError {
    LabError::new(LabErrorKind::Unreachable, format!("talk to the lab at {}", socket.display()))
        .hint("`clusterctl lab down` ends it; what it holds is kept")
}

/// Asks the lab for something.
///
/// # Errors
/// It cannot be reached, or refuses.
pub(super) fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, LabError> {
    let failed = |error: std::io::Error| unreachable(socket).because(error);
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut line =
        serde_json::to_vec(request).map_err(|error| unreachable(socket).because(error))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut answer).map_err(failed)?;
    if answer.is_empty() {
        return Err(unreachable(socket).detail("it closed the connection without an answer"));
    }
    let answer: Answer =
        serde_json::from_str(&answer).map_err(|error| unreachable(socket).because(error))?;
    match answer {
        Answer::Done(value) => {
            serde_json::from_value(value).map_err(|error| unreachable(socket).because(error))
        }
        Answer::Refused { message, hint } => {
            let error = LabError::new(LabErrorKind::Refused, message);
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

/// Asks for something whose answer does not matter.
///
/// # Errors
/// As [`ask`].
pub(super) fn tell(socket: &Path, request: &Request) -> Result<(), LabError> {
    ask::<Value>(socket, request).map(drop)
}
