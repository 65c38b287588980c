//! The server's side of the control socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::super::error::{LabError, LabErrorKind};
use super::super::protocol::{Answer, Request};
use super::site::LabSite;
use super::{fault, status};
use crate::state::remove_if_present;

/// Longest request that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens until the lab ends. Only the owner can connect: the folder is for nobody else.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn listen(
    path: &Path,
    site: Arc<LabSite>,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, LabError> {
    use std::os::unix::fs::PermissionsExt as _;
    remove_if_present(path).map_err(LabError::file("remove", path))?;
    let listener = UnixListener::bind(path).map_err(LabError::file("listen at", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(LabError::file("set the mode of", path))?;
    Ok(tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (site, stop) = (Arc::clone(&site), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = serve(stream, &site, &stop).await {
                    tracing::debug!(%error, "a control connection broke");
                }
            });
        }
    }))
}

async fn serve(
    stream: UnixStream,
    site: &LabSite,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    let (answer, ends) = match serde_json::from_str(&line) {
        Ok(request) => (Box::pin(answer(site, request)).await, is_stop(&line)),
        Err(error) => (refused("not a request of this build", &error.to_string()), false),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await?;
    if ends {
        stop.cancel();
    }
    Ok(())
}

fn is_stop(line: &str) -> bool {
    matches!(serde_json::from_str(line), Ok(Request::Stop))
}

fn refused(message: &str, detail: &str) -> Answer {
    Answer::Refused { message: format!("the lab refuses: {message}: {detail}"), hint: None }
}

fn done<T: Serialize>(value: &T) -> Answer {
    match serde_json::to_value(value) {
        Ok(value) => Answer::Done(value),
        Err(error) => refused("the answer cannot be written", &error.to_string()),
    }
}

fn failed(error: &LabError) -> Answer {
    Answer::Refused { message: crate::error::chain(error), hint: error.help().map(str::to_owned) }
}

async fn answer(site: &LabSite, request: Request) -> Answer {
    match request {
        Request::Sync { world } => match site.sync(*world).await {
            Ok(file) => done(&file),
            Err(error) => failed(&error),
        },
        Request::Status => match status::status(site).await {
            Some(status) => done(&status),
            None => failed(&LabError::new(LabErrorKind::Unreachable, "the lab just starts")),
        },
        Request::Snapshot => done(&status::snapshot(site).await),
        Request::Faults { spec } => match fault::inject(site, spec).await {
            Ok(()) => Answer::Done(Value::Null),
            Err(error) => failed(&error),
        },
        Request::Stop => Answer::Done(Value::Null),
    }
}
