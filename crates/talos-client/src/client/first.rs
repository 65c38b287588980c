//! The first bytes of a peer, read before anything of a call is sent.
//!
//! With TLS 1.3 the client is done with the handshake before the node has looked at its
//! certificate. A refusal comes as an alert instead of the first bytes of HTTP/2, and would be
//! lost, or hit the first call as a broken connection of which nobody knows what it did.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How long a peer may keep silent. One that waits for the client's first bytes loses this time
/// once a connection.
const SILENCE: Duration = Duration::from_millis(500);

/// A stream whose first bytes have been read already.
#[derive(Debug)]
pub(crate) struct First<S> {
    stream: S,
    bytes: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> First<S> {
    /// Waits for the first bytes.
    pub(crate) async fn of(mut stream: S) -> io::Result<Self> {
        let mut buffer = [0u8; 1024];
        let bytes = match tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {
            Err(_) => Bytes::new(),
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(length)) => Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()),
            Ok(Err(error)) => return Err(error),
        };
        Ok(Self { stream, bytes })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for First<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(self.bytes.get(..length).unwrap_or_default());
        self.bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for First<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_are_not_lost() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"first").await.unwrap();
        let mut stream = First::of(near).await.unwrap();
        far.write_all(b" second").await.unwrap();
        drop(far);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "first second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_waited_for_only_so_long() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut stream = First::of(near).await.unwrap();
        far.write_all(b"late").await.unwrap();
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"late");
        let (far, near) = tokio::io::duplex(64);
        drop(far);
        assert!(First::of(near).await.is_err());
    }
}
