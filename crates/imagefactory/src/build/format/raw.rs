//! Numbers in byte strings.

use crate::error::{Error, ErrorKind, Result};

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// Overwrites bytes; what does not fit is an error of the caller's layout.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<()> {
    let end = at.checked_add(value.len());
    let field = end.and_then(|end| bytes.get_mut(at..end)).ok_or_else(|| {
        let text = format!("the layout has no room for {} bytes at {at}", value.len());
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    field.copy_from_slice(value);
    Ok(())
}

/// A size that a format keeps in 32 bits.
pub(super) fn fit(value: u64, what: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        let text = format!("{what} is {value} bytes, and the format ends at 4 GiB");
        Error::new(ErrorKind::InvalidInput, text)
    })
}

/// A size that this machine's memory can address.
pub(super) fn index(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "it is too big for this machine").with_source(source)
    })
}

pub(super) fn broken(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{what}: {why}"))
}
