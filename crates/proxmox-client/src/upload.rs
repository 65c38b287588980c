//! A file on its way: read in pieces, hashed and counted as it is sent.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::io::ReaderStream;

use crate::client::{Client, Envelope, Parameters, answer, header};
use crate::error::{Error, Result};

/// Size of one piece, in bytes.
const PIECE: usize = 256 << 10;

/// How long an upload may take.
const UPLOAD: Duration = Duration::from_hours(12);

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
        let wrong = |source: reqwest::Error| {
            Error::config("the call cannot be written").because(source.without_url())
        };
        let (part, mut told) = file.into_part().map_err(wrong)?;
        let form = fields
            .iter()
            .fold(reqwest::multipart::Form::new(), |form, (name, value)| {
                form.text((*name).to_owned(), (*value).to_owned())
            })
            .part("filename", part);
        let mut request = endpoint
            .post(path)
            // As long as bytes move, the file is on its way.
            .timeout(UPLOAD)
            .multipart(form);
        for (name, value) in credentials {
            request = request.header(name, header(&value).map_err(|(error, _)| error)?);
        }
        let mut sending = std::pin::pin!(answer(endpoint, request, &operation, true));
        let data = loop {
            tokio::select! {
                Some(what) = told.recv() => moved(what),
                data = &mut sending => break data,
            }
        };
        while let Ok(what) = told.try_recv() {
            moved(what);
        }
        let whole: Envelope<String> = data.map_err(|(error, _)| error)?;
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

    /// The part of a form, and what will be told of it.
    pub(crate) fn into_part(
        self,
    ) -> std::result::Result<(reqwest::multipart::Part, UnboundedReceiver<Moved>), reqwest::Error>
    {
        use tokio::io::AsyncReadExt as _;
        let (sender, receiver) = unbounded_channel();
        // A file that grows meanwhile must not be longer than what was announced.
        let reader = ReaderStream::with_capacity(self.file.take(self.size), PIECE);
        let pieces = Pieces { reader, left: self.size, hash: Some(Sha256::new()), sender };
        let body = reqwest::Body::wrap_stream(pieces);
        let part = reqwest::multipart::Part::stream_with_length(body, self.size)
            .file_name(self.name)
            .mime_str("application/octet-stream")?;
        Ok((part, receiver))
    }
}

struct Pieces {
    reader: ReaderStream<tokio::io::Take<tokio::fs::File>>,
    left: u64,
    hash: Option<Sha256>,
    sender: UnboundedSender<Moved>,
}

impl Pieces {
    /// Nobody listening is no reason to stop sending.
    fn tell(&self, moved: Moved) {
        drop(self.sender.send(moved));
    }

    fn finish(&mut self) {
        if let Some(hash) = self.hash.take() {
            let text = hash.finalize().iter().fold(String::new(), |mut text, byte| {
                // Writing to a String cannot fail.
                let _: std::fmt::Result = write!(text, "{byte:02x}");
                text
            });
            self.tell(Moved::Whole(text));
        }
    }
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = std::task::ready!(Pin::new(&mut self.reader).poll_next(context));
        match &piece {
            Some(Ok(bytes)) => {
                if let Some(hash) = &mut self.hash {
                    hash.update(bytes);
                }
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(length);
                self.tell(Moved::Bytes(length));
                // The last piece may be the last thing that is asked for.
                if self.left == 0 {
                    self.finish();
                }
            }
            Some(Err(_)) => {}
            None if self.left == 0 => self.finish(),
            None => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short");
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(piece)
    }
}
