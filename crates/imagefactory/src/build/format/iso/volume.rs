//! Descriptors of the volume.

use super::super::raw::{broken, fit, index};
use super::date::Date;
use super::record::{both16, both32, record};
use super::{Extent, IsoImage, SECTOR};
use crate::error::Result;

/// Refuses ids that the standard does not allow.
pub(super) fn check_ids(image: &IsoImage) -> Result<()> {
    check_id(&image.volume, 32, |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')?;
    check_id(&image.volume_set, 128, |c| c.is_ascii_graphic())
}

fn check_id(id: &str, most: usize, good: impl Fn(char) -> bool) -> Result<()> {
    if id.is_empty() || id.len() > most || !id.chars().all(good) {
        return Err(broken("the ISO", &format!("{id:?} cannot be its name")));
    }
    Ok(())
}

/// The primary descriptor.
pub(super) fn volume(
    image: &IsoImage,
    total: u64,
    (table, second_table): (Extent, u32),
    root: Extent,
    date: &Date,
) -> Result<Vec<u8>> {
    let padded = |text: &str, len: usize| format!("{text:len$}").into_bytes();
    let root = Extent { len: root.len.next_multiple_of(2048), ..root };
    let mut out = b"\x01CD001\x01\0".to_vec();
    out.extend(padded("", 32));
    out.extend(padded(&image.volume, 32));
    out.extend([0; 8]);
    out.extend(both32(fit(total, "the ISO")?));
    out.extend([0; 32]);
    out.extend(both16(1));
    out.extend(both16(1));
    out.extend(both16(2048));
    out.extend(both32(table.len));
    for value in [table.sector, 0] {
        out.extend(value.to_le_bytes());
    }
    for value in [second_table, 0] {
        out.extend(value.to_be_bytes());
    }
    out.extend(record(&[0], root, true, &[], date)?);
    out.extend(padded(&image.volume_set, 128));
    for (text, len) in [("", 128), ("IMAGEFACTORY", 128), ("", 128), ("", 37), ("", 37), ("", 37)] {
        out.extend(padded(text, len));
    }
    out.extend(date.long);
    out.extend(date.long);
    for _ in 0..2 {
        out.extend([b'0'; 16]);
        out.push(0);
    }
    out.extend([1, 0]);
    if image.identity.len() > 512 {
        return Err(broken("the ISO", "what it tells of itself is too long"));
    }
    out.extend(&image.identity);
    out.resize(index(SECTOR)?, 0);
    Ok(out)
}

/// What ends the list of descriptors.
pub(super) fn terminator() -> Result<Vec<u8>> {
    let mut out = b"\xffCD001\x01".to_vec();
    out.resize(index(SECTOR)?, 0);
    Ok(out)
}
