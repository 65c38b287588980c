//! Snapshots of etcd: taken as a stream, and uploaded for a recovery.

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::bootstrap::Bootstrap;
use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine;

/// Length of the sum that etcd puts at the end of a snapshot.
const SUM: usize = 32;

/// Snapshots are made of pages.
const PAGE: u64 = 512;

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its length in bytes.
    pub length: u64,
    /// It ends with a sum of its content, and the sum is right. Without such a sum, a recovery has
    /// to skip the check.
    pub verified: bool,
}

/// Compares the sum at the end of a stream with what stands before it, keeping no more than it.
#[derive(Default)]
struct Verifier {
    sum: Sha256,
    tail: Vec<u8>,
    length: u64,
}

impl Verifier {
    fn take(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let ready = self.tail.len().saturating_sub(SUM);
        self.sum.update(self.tail.get(..ready).unwrap_or_default());
        self.tail.drain(..ready);
    }

    /// None if there is no sum at the end.
    fn end(self) -> Option<bool> {
        let has_sum = self.length % PAGE == SUM as u64;
        has_sum.then(|| self.sum.finalize().as_slice() == self.tail)
    }
}

impl Client {
    /// Takes a snapshot of etcd and writes it to `target`, in constant memory. Write to a new file
    /// and rename it when this has succeeded.
    ///
    /// # Errors
    /// See [`Error`]; also if the target cannot be written, or the sum at the end is wrong.
    pub async fn etcd_snapshot(
        &self,
        mut target: impl AsyncWrite + Unpin,
    ) -> Result<Snapshot, Error> {
        let call = &call::ETCD_SNAPSHOT;
        let mut stream = self.chunks(call, machine::EtcdSnapshotRequest {}).await?;
        let stall = self.timeouts().long;
        let mut verifier = Verifier::default();
        let unwritten = |error: std::io::Error| {
            self.refused(call, format!("the snapshot cannot be written: {error}"))
        };
        while let Some(chunk) = stream.next_within(stall).await {
            let chunk = chunk?;
            verifier.take(&chunk);
            target.write_all(&chunk).await.map_err(unwritten)?;
        }
        target.flush().await.map_err(unwritten)?;
        let length = verifier.length;
        if length == 0 {
            return Err(self.odd(call, "the snapshot is empty"));
        }
        match verifier.end() {
            Some(false) => Err(self.odd(call, "the sum at the end of the snapshot is wrong")),
            sum => Ok(Snapshot { length, verified: sum.is_some() }),
        }
    }

    /// Uploads a snapshot to a control plane that waits for its bootstrap; see
    /// [`Client::bootstrap_from_snapshot`].
    ///
    /// # Errors
    /// See [`Error`]; also if the source cannot be read.
    pub async fn etcd_recover(&self, snapshot: impl AsyncRead + Unpin) -> Result<(), Error> {
        self.upload::<machine::EtcdRecoverResponse>(&call::ETCD_RECOVER, snapshot).await?;
        Ok(())
    }

    /// Starts etcd with the data of the snapshot that was uploaded before, unless etcd has been
    /// started. `skip_check` is for data that is no snapshot of etcd's own making, such as a copy
    /// of its file, which has no sum.
    ///
    /// # Errors
    /// As for [`Client::bootstrap`].
    pub async fn bootstrap_from_snapshot(&self, skip_check: bool) -> Result<Bootstrap, Error> {
        let request =
            machine::BootstrapRequest { recover_etcd: true, recover_skip_hash_check: skip_check };
        self.bootstrap_with(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_at_the_end_is_compared() {
        let content = vec![7u8; 2048];
        let sum = Sha256::digest(&content);
        for size in [1, 31, 32, 33, 1000, 4096] {
            let mut verifier = Verifier::default();
            let whole = [content.as_slice(), sum.as_slice()].concat();
            whole.chunks(size).for_each(|chunk| verifier.take(chunk));
            assert_eq!(verifier.length, 2080);
            assert_eq!(verifier.end(), Some(true), "{size}");
            let mut verifier = Verifier::default();
            let mut broken = whole.clone();
            broken[100] = 8;
            broken.chunks(size).for_each(|chunk| verifier.take(chunk));
            assert_eq!(verifier.end(), Some(false), "{size}");
            let mut verifier = Verifier::default();
            content.chunks(size).for_each(|chunk| verifier.take(chunk));
            assert_eq!(verifier.end(), None, "{size}");
        }
    }
}
