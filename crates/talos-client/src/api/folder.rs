//! Folders of a node: what is in them, how much, and all of it as an archive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tonic::Streaming;

use crate::client::{Chunks, Client, call};
use crate::error::Error;
use crate::proto::{common, machine};

/// An entry of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEntry {
    /// Whole path.
    pub path: String,
    /// Path below the folder that was asked for; `.` for itself.
    pub relative: String,
    /// Bytes.
    pub size: u64,
    /// Permissions, without the kind.
    pub mode: u32,
    /// When it was changed.
    pub modified: Option<Timestamp>,
    /// It is a folder.
    pub is_dir: bool,
    /// Where it points to, if it is a link.
    pub link: Option<String>,
    /// Number of its owner.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Why this one could not be read; the others are told all the same.
    pub error: Option<String>,
}

/// How much a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Whole path.
    pub path: String,
    /// Path below the folder that was asked for.
    pub relative: String,
    /// Bytes of it and all below it.
    pub size: u64,
    /// Why this one could not be read.
    pub error: Option<String>,
}

/// Entries, one after the other: nothing is kept beyond one of them.
#[derive(Debug)]
pub struct Entries {
    client: Client,
    stream: Streaming<machine::FileInfo>,
}

impl Entries {
    /// The next entry; none at the end.
    ///
    /// # Errors
    /// There is no such folder, or the connection broke.
    pub async fn next(&mut self) -> Option<Result<FileEntry, Error>> {
        StreamExt::next(self).await
    }
}

impl Stream for Entries {
    type Item = Result<FileEntry, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = ready!(Pin::new(&mut this.stream).poll_next(cx));
        Poll::Ready(next.map(|next| {
            let wire = next.map_err(|status| this.client.failed(&call::FILES, &status))?;
            this.client.well(&call::FILES, wire.metadata.as_ref())?;
            Ok(entry(wire))
        }))
    }
}

impl Client {
    /// What is in a folder, so many levels deep: 1 for the folder alone, 0 for all below it.
    ///
    /// # Errors
    /// See [`Error`]. That there is no such folder may also be the first item of the stream.
    pub async fn files(&self, path: &str, depth: u32) -> Result<Entries, Error> {
        let request = machine::ListRequest {
            root: path.to_owned(),
            recurse: depth != 1,
            recursion_depth: i32::try_from(depth).unwrap_or(i32::MAX),
            types: Vec::new(),
            report_xattrs: false,
        };
        let stream = self.open(&call::FILES, request).await?;
        Ok(Entries { client: self.clone(), stream })
    }

    /// How much the folders below a path hold, so many levels deep; entries smaller than `threshold`
    /// bytes are left out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn disk_usage(
        &self,
        path: &str,
        depth: u32,
        threshold: u64,
    ) -> Result<Vec<Usage>, Error> {
        let request = machine::DiskUsageRequest {
            recursion_depth: i32::try_from(depth).unwrap_or(i32::MAX),
            all: false,
            threshold: i64::try_from(threshold).unwrap_or(i64::MAX),
            paths: vec![path.to_owned()],
        };
        let mut all = Vec::new();
        for wire in self.gather::<_, machine::DiskUsageInfo>(&call::USAGE, request).await? {
            self.well(&call::USAGE, wire.metadata.as_ref())?;
            all.push(Usage {
                path: wire.name,
                relative: wire.relative_name,
                size: u64::try_from(wire.size).unwrap_or_default(),
                error: (!wire.error.is_empty()).then_some(wire.error),
            });
        }
        Ok(all)
    }

    /// A file as a stream, of any length, in constant memory. Administrators only.
    ///
    /// # Errors
    /// See [`Error`]. That there is no such file may also be the first item of the stream.
    pub async fn open_file(&self, path: &str) -> Result<Chunks, Error> {
        self.chunks(&call::READ, machine::ReadRequest { path: path.to_owned() }).await
    }

    /// A file or a folder with all that is in it, as a compressed archive (`tar.gz`), in constant memory.
    /// Administrators only.
    ///
    /// # Errors
    /// See [`Error`]. That there is no such path may also be the first item of the stream.
    pub async fn archive(&self, path: &str) -> Result<Chunks, Error> {
        self.chunks(&call::COPY, machine::CopyRequest { root_path: path.to_owned() }).await
    }

    /// What an element of a stream says of itself.
    fn well(&self, call: &call::Call, metadata: Option<&common::Metadata>) -> Result<(), Error> {
        metadata.and_then(|one| self.told(call, one)).map_or(Ok(()), Err)
    }
}

fn entry(wire: machine::FileInfo) -> FileEntry {
    FileEntry {
        path: wire.name,
        relative: wire.relative_name,
        size: u64::try_from(wire.size).unwrap_or_default(),
        mode: wire.mode & 0o7777,
        modified: (wire.modified != 0)
            .then(|| Timestamp::from_second(wire.modified).ok())
            .flatten(),
        is_dir: wire.is_dir,
        link: (!wire.link.is_empty()).then_some(wire.link),
        uid: wire.uid,
        gid: wire.gid,
        error: (!wire.error.is_empty()).then_some(wire.error),
    }
}
