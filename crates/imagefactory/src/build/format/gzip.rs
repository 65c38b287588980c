//! gzip (RFC 1952) around content that is packed already.

use std::io::{Result, Write};

/// Most bytes of a block that is stored (RFC 1951, 3.2.4).
const BLOCK: usize = 0xffff;
/// Deflate, no flags, no time, no extra flags, system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Frames what is written as gzip without packing it. The bytes depend on the content alone, not on
/// how it is cut into writes, nor on a packer's version.
#[derive(Debug)]
pub struct StoredGzip<W> {
    out: W,
    block: Vec<u8>,
    /// Of all content, with its length.
    checksum: flate2::Crc,
}

impl<W: Write> StoredGzip<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(mut out: W) -> Result<Self> {
        out.write_all(&HEADER)?;
        let block = Vec::with_capacity(BLOCK);
        Ok(Self { out, block, checksum: flate2::Crc::new() })
    }

    /// Ends the stream and gives the output back.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.write_block(true)?;
        self.out.write_all(&self.checksum.sum().to_le_bytes())?;
        self.out.write_all(&self.checksum.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn write_block(&mut self, is_last: bool) -> Result<()> {
        let [low, high] = u16::try_from(self.block.len()).unwrap_or(u16::MAX).to_le_bytes();
        self.out.write_all(&[u8::from(is_last), low, high, !low, !high])?;
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for StoredGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.block.len() == BLOCK {
            self.write_block(false)?;
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        let taken = bytes.get(..count).unwrap_or_default();
        self.block.extend_from_slice(taken);
        self.checksum.update(taken);
        Ok(count)
    }

    /// A block that is not full stays until it is, or until the end.
    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn framed(content: &[u8], at_once: usize) -> Vec<u8> {
        let mut gzip = StoredGzip::new(Vec::new()).unwrap();
        content.chunks(at_once).for_each(|chunk| gzip.write_all(chunk).unwrap());
        gzip.finish().unwrap()
    }

    #[test]
    fn other_readers_read_it_and_writes_do_not_show() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let content: Vec<u8> = (0_u8..=250).cycle().take(len).collect();
            let stream = framed(&content, 1 << 20);
            assert_eq!(stream, framed(&content, 7777), "{len}");
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(stream.as_slice()).read_to_end(&mut read).unwrap();
            assert_eq!(read, content, "{len}");
            assert_eq!(stream.len(), 18 + len + 5 * len.div_ceil(BLOCK).max(1), "{len}");
        }
    }
}
