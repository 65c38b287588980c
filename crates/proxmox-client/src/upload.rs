//! A file on its way: read in pieces, hashed and counted as it is sent.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::Method;
use http::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{
    Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel,
};

use crate::client::{Client, Envelope, Parameters, answer, parse, request, unwritten};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::Payload;

/// Size of one piece, in bytes.
const PIECE: usize = 256 << 10;
/// How many pieces are read ahead of what is sent.
const AHEAD: usize = 8;

/// How long an upload may take.
const UPLOAD: Duration = Duration::from_hours(12);
/// How long it may stand still.
const STALLED: Duration = Duration::from_mins(5);

impl Client {
    /// Sends a file. It goes to one endpoint, once: only where nothing was sent to that one, the
    /// next is asked. Gives the answer's data. What was never told to be whole did not leave here
    /// whole, and nothing is done of it.
    pub(crate) async fn upload(
        &self,
        path: &str,
        fields: &Parameters<'_>,
        file: FilePart,
        moved: &mut (dyn FnMut(Moved) + Send),
    ) -> Result<String> {
        // A call that can be repeated finds an endpoint that answers, and renews the ticket.
        self.version().await?;
        let _permit = self.permit().await?;
        let endpoint = self.endpoint()?;
        let credentials = self.credentials(endpoint).await.map_err(|(error, _)| error)?;
        let operation = format!("POST {path}");
        let (payload, boundary, mut told) = file.between(fields).await;
        let request = request(&Method::POST, path, credentials)
            .and_then(|request| {
                let kind = format!("multipart/form-data; boundary={boundary}");
                request.header(CONTENT_TYPE, kind).body(payload).map_err(unwritten)
            })
            .map_err(|(error, _)| error)?;
        // As long as bytes move, the file is on its way.
        let mut sending = std::pin::pin!(answer(endpoint, request, &operation, UPLOAD));
        let mut whole = false;
        let data = loop {
            tokio::select! {
                Some(what) = told.recv() => {
                    whole |= matches!(what, Moved::Whole(_));
                    moved(what);
                }
                data = &mut sending => break data,
                // Begins anew with each piece.
                () = tokio::time::sleep(STALLED) => {
                    let text = "nothing moves any more";
                    let error = Error::new(ErrorKind::Unreachable, operation.clone(), text);
                    return Err(error.at(endpoint.name()).applied(whole));
                }
            }
        };
        while let Ok(what) = told.try_recv() {
            moved(what);
        }
        let bytes = data.map_err(|(error, _)| error)?;
        let whole: Envelope<String> = parse(endpoint, &bytes, &operation, true)?;
        Ok(whole.data)
    }
}

/// What is told of a file on its way.
#[derive(Debug)]
pub(crate) enum Moved {
    /// So many bytes were handed to the connection.
    Bytes(u64),
    /// All of them, with their SHA-256.
    Whole(String),
}

/// A file that can be sent once.
#[derive(Debug)]
pub(crate) struct FilePart {
    file: tokio::fs::File,
    name: String,
    size: u64,
}

impl FilePart {
    pub(crate) async fn open(path: &Path, name: &str) -> io::Result<Self> {
        let file = tokio::fs::File::open(path).await?;
        let data = file.metadata().await?;
        if !data.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        Ok(Self { file, name: name.to_owned(), size: data.len() })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The file as the last part of a form, the boundary of its parts, and what will be told of it.
    async fn between(self, fields: &Parameters<'_>) -> (Payload, String, UnboundedReceiver<Moved>) {
        let (told, receiver) = unbounded_channel();
        let (sender, pieces) = channel(AHEAD);
        let (file, size) = (self.file.into_std().await, self.size);
        // Reading and hashing go on while the pieces before are encrypted and sent.
        drop(tokio::task::spawn_blocking(move || read(file, size, &sender)));
        // No file holds what was drawn after it was written.
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let part = |name: &str, rest: &str| {
            let name = quoted(name);
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n")
        };
        let mut head: String =
            fields.iter().map(|(name, value)| part(name, "") + value + "\r\n").collect();
        let of_file = "\r\nContent-Type: application/octet-stream";
        let name = quoted(&self.name);
        head.push_str(&part("filename", &format!("; filename=\"{name}\"{of_file}")));
        let tail = format!("\r\n--{boundary}--\r\n");
        (Payload::file(head, Pieces { pieces, told }, size, tail), boundary, receiver)
    }
}

/// A name in quotes (HTML, multipart/form-data: what would end it is percent-encoded).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// A piece of the file; the last one comes with the SHA-256 of all of them.
type Piece = io::Result<(Bytes, Option<String>)>;

/// Reads a file to the size that was announced, though it may have grown since.
fn read(mut file: std::fs::File, size: u64, sender: &Sender<Piece>) {
    let (mut left, mut hash) = (size, Sha256::new());
    loop {
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; length];
        let piece = match file.read_exact(&mut piece) {
            Ok(()) => Bytes::from(piece),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short");
                return drop(sender.blocking_send(Err(error)));
            }
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        hash.update(&piece);
        left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let text = (left == 0).then(|| hex(&hash.finalize_reset()));
        // Nobody takes it any more when the call has ended.
        if sender.blocking_send(Ok((piece, text))).is_err() || left == 0 {
            return;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _: std::fmt::Result = write!(text, "{byte:02x}");
        text
    })
}

/// The file, piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: Receiver<Piece>,
    told: UnboundedSender<Moved>,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match std::task::ready!(self.pieces.poll_recv(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(piece)) => piece,
        };
        let (bytes, hash) = piece;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Nobody listening is no reason to stop sending.
        drop(self.told.send(Moved::Bytes(length)));
        if let Some(hash) = hash {
            drop(self.told.send(Moved::Whole(hash)));
        }
        Poll::Ready(Some(Ok(bytes)))
    }
}
