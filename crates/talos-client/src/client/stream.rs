//! Streams of a node that the caller reads at its own pace.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic_prost::ProstCodec;

use super::call::Call;
use super::{Client, Envelope, Frame, classify};
use crate::error::{Error, ErrorKind};

/// Size of a chunk that is sent.
const CHUNK: usize = 32 << 10;

/// A stream of bytes: a log, a file, a snapshot. Nothing is kept beyond one chunk.
#[derive(Debug)]
pub struct Chunks {
    client: Client,
    call: &'static Call,
    stream: Streaming<Frame>,
}

impl Chunks {
    /// The next chunk; none at the end.
    ///
    /// # Errors
    /// The connection broke, or the node failed.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        StreamExt::next(self).await
    }

    /// The next chunk, in no more than that time.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Result<Bytes, Error>> {
        match tokio::time::timeout(limit, StreamExt::next(self)).await {
            Ok(next) => next,
            Err(_) => Some(Err(self.client.late(self.call, limit))),
        }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let frame = match ready!(Pin::new(&mut this.stream).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(status)) => {
                    return Poll::Ready(Some(Err(this.client.failed(this.call, &status))));
                }
                Some(Ok(frame)) => frame,
            };
            let metadata = frame.metadata.as_ref();
            if let Some(error) = metadata.and_then(|m| classify::envelope(this.call, m)) {
                return Poll::Ready(Some(Err(this.client.named(error))));
            }
            if !frame.bytes.is_empty() {
                return Poll::Ready(Some(Ok(frame.bytes)));
            }
        }
    }
}

impl Client {
    pub(crate) fn late(&self, call: &Call, limit: Duration) -> Error {
        let error = Error::new(ErrorKind::Timeout, call.name, format!("nothing for {limit:?}"));
        self.named(error).maybe_applied(call.changes)
    }

    /// A stream of bytes.
    pub(crate) async fn chunks<M>(&self, call: &'static Call, message: M) -> Result<Chunks, Error>
    where
        M: prost::Message + Clone + 'static,
    {
        let stream = self.open::<M, Frame>(call, message).await?;
        Ok(Chunks { client: self.clone(), call, stream })
    }

    /// Sends a stream of bytes; the answer of this one node.
    pub(crate) async fn upload<A>(
        &self,
        call: &Call,
        source: impl AsyncRead + Unpin,
    ) -> Result<A::Item, Error>
    where
        A: Envelope + prost::Message + Default + 'static,
    {
        let answer = self.feed::<Frame, A>(call, source, None, |frame| frame).await?;
        self.first(call, answer)
    }

    /// Sends a stream of messages: one that says what it is about, and then bytes in chunks.
    pub(crate) async fn feed<F, A>(
        &self,
        call: &Call,
        mut source: impl AsyncRead + Unpin,
        first: Option<F>,
        wrap: impl Fn(Frame) -> F,
    ) -> Result<A, Error>
    where
        F: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let (sender, receiver) = mpsc::channel(4);
        let stall = self.timeouts().long;
        let feed = async {
            let sender = sender;
            let mut head = first;
            loop {
                let message = match head.take() {
                    Some(head) => head,
                    None => {
                        let mut chunk = vec![0; CHUNK];
                        let length = source.read(&mut chunk).await.map_err(|error| {
                            let text = format!("what shall be sent cannot be read: {error}");
                            self.refused(call, text)
                        })?;
                        if length == 0 {
                            return Ok(());
                        }
                        chunk.truncate(length);
                        wrap(Frame { metadata: None, bytes: chunk.into() })
                    }
                };
                match tokio::time::timeout(stall, sender.send(message)).await {
                    Ok(Ok(())) => {}
                    // The call has ended; its own result says why.
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(self.late(call, stall)),
                }
            }
        };
        let send = async {
            let mut grpc = self.grpc(call).await?;
            let path = http::uri::PathAndQuery::from_static(call.path);
            let codec: ProstCodec<F, A> = ProstCodec::default();
            let request = self.request(ReceiverStream::new(receiver));
            let answer = grpc.client_streaming(request, path, codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| self.failed(call, &status))
        };
        let ((), answer) = futures_util::try_join!(feed, send)?;
        Ok(answer)
    }
}
