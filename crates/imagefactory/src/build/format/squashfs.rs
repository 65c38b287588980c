//! Squashfs 4.0 with zstd, as the kernel of Talos mounts it (it knows zstd and xz only).

use std::fs::File;
use std::io::Write as _;

use backhand::compression::{CompressionAction, Compressor};
use backhand::kind::Kind;
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader, SuperBlock};

use super::super::tree::{Node, Tree};
use super::raw::{broken, index};
use crate::error::{Error, ErrorKind, Result, io};

const BLOCK: u32 = 128 << 10;
/// Blocks are small, so that higher levels gain little and cost much.
const LEVEL: i32 = 9;

/// zstd for the library that lays squashfs out.
struct Zstd;

impl CompressionAction for Zstd {
    type Compressor = Compressor;
    type Error = BackhandError;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;

    fn decompress(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        _: Compressor,
    ) -> std::result::Result<(), BackhandError> {
        let most = out.capacity().max(BLOCK as usize);
        *out = zstd::bulk::decompress(bytes, most)?;
        Ok(())
    }

    fn compress(
        &self,
        bytes: &[u8],
        _: FilesystemCompressor,
        _: u32,
    ) -> std::result::Result<Vec<u8>, BackhandError> {
        Ok(zstd::bulk::compress(bytes, LEVEL)?)
    }
}

static ZSTD: Zstd = Zstd;

/// Writes a tree into an empty file; owner root, all times 0. Returns the size in bytes, which is
/// a multiple of 4096.
///
/// # Errors
/// Content cannot be read, or the file cannot be written.
pub fn squashfs(tree: &Tree, out: &mut File) -> Result<u64> {
    let failed = |source: BackhandError| {
        Error::new(ErrorKind::InvalidInput, "write a squashfs").with_source(source)
    };
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Kind::new_v4(&ZSTD));
    writer.set_compressor(FilesystemCompressor::new(Compressor::Zstd, None).map_err(failed)?);
    writer.set_block_size(BLOCK);
    writer.set_time(0);
    writer.set_only_root_id();
    writer.set_root_mode(0o755);
    for (path, node) in tree.nodes() {
        let header = |mode: u32| -> Result<NodeHeader> {
            let mode = u16::try_from(mode).map_err(|_| broken(path, "its mode makes no sense"))?;
            Ok(NodeHeader::new(mode, 0, 0, 0))
        };
        match node {
            Node::Directory { mode } => writer.push_dir(path, header(*mode)?),
            Node::Symlink { target } => writer.push_symlink(target, path, header(0o777)?),
            Node::File { mode, content } => {
                writer.push_file(content.reader(), path, header(*mode)?)
            }
        }
        .map_err(failed)?;
    }
    let mut buffered = std::io::BufWriter::with_capacity(1 << 18, &mut *out);
    let (_, size) = writer.write(&mut buffered).map_err(failed)?;
    buffered.flush().map_err(io("write a squashfs"))?;
    drop(buffered);
    drop(writer);
    let size = size.next_multiple_of(4096);
    index(size)?;
    // A file that turned out to be a duplicate was written before that was known.
    out.set_len(size).map_err(io("write a squashfs"))?;
    Ok(size)
}
