//! Content that is put together before it is read.

use std::io::{Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};

/// Bytes in a row, from memory and from parts of files; its length is known, and files are read
/// only when it is written.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pieces: Vec<Piece>,
    len: u64,
}

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Arc<[u8]>),
    File { path: Arc<Path>, offset: u64, len: u64 },
    Zeros(u64),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } | Self::Zeros(len) => *len,
        }
    }
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        Self { pieces: vec![Piece::Bytes(bytes)], len }
    }

    /// A file, whole, as long as it is now.
    ///
    /// # Errors
    /// It is not there.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let len = std::fs::metadata(&path).map_err(io(format!("read {}", path.display())))?.len();
        Ok(Self::part(path, 0, len))
    }

    /// A part of a file.
    pub fn part(path: impl Into<PathBuf>, offset: u64, len: u64) -> Self {
        let path = Arc::from(path.into());
        Self { pieces: vec![Piece::File { path, offset, len }], len }
    }

    /// Zeros.
    pub fn zeros(len: u64) -> Self {
        Self { pieces: vec![Piece::Zeros(len)], len }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts other content at the end.
    pub fn push(&mut self, other: Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces.into_iter().filter(|piece| piece.len() > 0));
    }

    /// Zeros at the end until the length is a multiple of `unit` bytes.
    pub fn align(&mut self, unit: u64) {
        self.extend_to(self.len.next_multiple_of(unit));
    }

    /// Zeros at the end until the length is `len`, if it is shorter.
    pub fn extend_to(&mut self, len: u64) {
        if let Some(more) = len.checked_sub(self.len).filter(|more| *more > 0) {
            self.push(Self::zeros(more));
        }
    }

    /// A reader from the start.
    pub fn reader(&self) -> ContentReader {
        ContentReader { pieces: self.pieces.clone().into_iter(), piece: None }
    }

    /// Writes it.
    ///
    /// # Errors
    /// A file is gone or shorter than it was, or the output cannot be written.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let mut reader = self.reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = reader.read(&mut buffer).map_err(io("read what an image is made of"))?;
            match buffer.get(..read).filter(|chunk| !chunk.is_empty()) {
                Some(chunk) => out.write_all(chunk).map_err(io("write an image"))?,
                None => return Ok(()),
            }
        }
    }

    /// All of it, in memory; for what is known to be small.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to), or it is longer than `most` bytes.
    pub fn read_all(&self, most: u64) -> Result<Vec<u8>> {
        if self.len > most {
            let text = format!("{} bytes where at most {most} make sense", self.len);
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Its first bytes, at most `count`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn head(&self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader().take(count).read_to_end(&mut bytes).map_err(io("read an input"))?;
        Ok(bytes)
    }

    /// Its SHA-256.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn digest(&self) -> Result<Digest> {
        let mut hash = HashWriter(sha2::Sha256::new());
        self.write_to(&mut hash)?;
        Ok(Digest::from_bytes(hash.0.finalize().into()))
    }
}

struct HashWriter(sha2::Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads [`Content`]; has one file open at a time.
#[derive(Debug)]
pub struct ContentReader {
    pieces: std::vec::IntoIter<Piece>,
    piece: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Bytes(std::io::Cursor<Arc<[u8]>>),
    File { file: std::io::Take<std::fs::File>, path: Arc<Path> },
    Zeros(u64),
}

impl Open {
    fn new(piece: Piece) -> std::io::Result<Self> {
        Ok(match piece {
            Piece::Bytes(bytes) => Self::Bytes(std::io::Cursor::new(bytes)),
            Piece::Zeros(len) => Self::Zeros(len),
            Piece::File { path, offset, len } => {
                let mut file = fs_err::File::open(&*path)?.into_file();
                if offset > 0 {
                    file.seek(SeekFrom::Start(offset))?;
                }
                Self::File { file: file.take(len), path }
            }
        })
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.piece {
                None => 0,
                Some(Open::Bytes(bytes)) => bytes.read(buffer)?,
                Some(Open::Zeros(left)) => {
                    let count = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    buffer.iter_mut().take(count).for_each(|byte| *byte = 0);
                    *left -= count as u64;
                    count
                }
                Some(Open::File { file, path }) => {
                    let read = file.read(buffer)?;
                    if read == 0 && file.limit() > 0 {
                        let text = format!("{} is shorter than it was", path.display());
                        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text));
                    }
                    read
                }
            };
            if read > 0 {
                return Ok(read);
            }
            match self.pieces.next() {
                Some(piece) => self.piece = Some(Open::new(piece)?),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Content;

    #[test]
    fn pieces_are_read_in_order_and_a_shortened_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs_err::write(&path, b"0123456789").unwrap();
        let mut content = Content::bytes(b"ab".as_slice());
        content.push(Content::part(&path, 2, 3));
        content.align(8);
        content.push(Content::file(&path).unwrap());
        assert_eq!(content.len(), 18);
        assert_eq!(content.read_all(18).unwrap(), b"ab234\0\0\x000123456789");
        assert!(content.read_all(17).is_err());
        assert_eq!(content.head(3).unwrap(), b"ab2");
        fs_err::write(&path, b"0123").unwrap();
        assert!(content.read_all(18).is_err());
    }
}
