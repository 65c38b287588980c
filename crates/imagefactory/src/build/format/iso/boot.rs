//! What firmware starts from: El Torito, and code and partitions for those that see a disk.

use super::super::raw::{broken, fit, index, put};
use super::{Bios, Extent, SECTOR};
use crate::error::Result;

/// Where a boot image keeps the place of its own second part.
const GRUB_BLOCKLIST: usize = 2548;
/// Where `boot_hybrid.img` keeps the place of the boot image.
const HYBRID_BLOCK: usize = 0x1b0;

/// The descriptor that names the catalogue of boot images.
pub(super) fn boot_record(catalogue: u32) -> Result<Vec<u8>> {
    let mut out = b"\0CD001\x01EL TORITO SPECIFICATION".to_vec();
    out.resize(index(SECTOR)?, 0);
    put(&mut out, 0x47, &catalogue.to_le_bytes())?;
    Ok(out)
}

/// The catalogue: GRUB for BIOS, the partition for UEFI.
pub(super) fn boot_catalogue(core: Option<Extent>, esp: Option<(u64, u64)>) -> Result<Vec<u8>> {
    let entry = |sectors: u16, sector: u32| {
        let mut entry = vec![0x88, 0, 0, 0, 0, 0];
        entry.extend(sectors.to_le_bytes());
        entry.extend(sector.to_le_bytes());
        entry.resize(32, 0);
        entry
    };
    let mut validation = vec![1, if core.is_some() { 0 } else { 0xef }];
    validation.resize(30, 0);
    validation.extend([0x55, 0xaa]);
    let words = validation.as_chunks::<2>().0.iter();
    let sum = words.fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes(*word)));
    put(&mut validation, 28, &0_u16.wrapping_sub(sum).to_le_bytes())?;
    let mut out = validation;
    if let Some(core) = core {
        out.extend(entry(4, core.sector));
    }
    if let Some((sector, _)) = esp {
        if core.is_some() {
            let mut section = vec![0x91, 0xef, 1, 0];
            section.resize(32, 0);
            out.extend(section);
        }
        // No count of sectors: 16 bits would cut a big partition short; none means all.
        out.extend(entry(0, fit(sector, "the ISO")?));
    }
    Ok(out)
}

/// The first 16 sectors: code for BIOS from a disk, and a table of partitions.
pub(super) fn system_area(
    bios: Option<&Bios>,
    core: Option<Extent>,
    esp: Option<(u64, u64)>,
) -> Result<Vec<u8>> {
    let mut area = vec![0; index(16 * SECTOR)?];
    if let (Some(bios), Some(core)) = (bios, core) {
        let code = bios.boot_hybrid.get(..440);
        put(&mut area, 0, code.ok_or_else(|| broken("GRUB", "boot_hybrid.img is too short"))?)?;
        put(&mut area, HYBRID_BLOCK, &(u64::from(core.sector) * 4 + 4).to_le_bytes())?;
    }
    if let Some((sector, len)) = esp {
        let start = fit(sector * 4, "the ISO")?;
        let active = if core.is_some() { 0x80 } else { 0 };
        let partitions =
            [(active, 0x83, 64, start - 64), (0, 0xef, start, fit(len / 512, "the ISO")?)];
        for (number, (flag, kind, first, count)) in partitions.into_iter().enumerate() {
            let mut entry = vec![flag, 0xfe, 0xff, 0xff, kind, 0xfe, 0xff, 0xff];
            entry.extend(u32::to_le_bytes(first));
            entry.extend(u32::to_le_bytes(count));
            put(&mut area, 446 + 16 * number, &entry)?;
        }
    }
    put(&mut area, 510, &[0x55, 0xaa])?;
    Ok(area)
}

/// The boot image with what it must know of its place: the boot information table, and where
/// GRUB's first sector reads on.
pub(super) fn with_boot_info(image: &[u8], at: Extent) -> Result<Vec<u8>> {
    let mut out = image.to_vec();
    put(&mut out, GRUB_BLOCKLIST, &(u64::from(at.sector) * 4 + 5).to_le_bytes())?;
    let mut sum = 0_u32;
    for chunk in out.get(64..).unwrap_or_default().chunks(4) {
        let word = chunk.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        sum = sum.wrapping_add(word);
    }
    for (field, value) in [16, at.sector, at.len, sum].into_iter().enumerate() {
        put(&mut out, 8 + 4 * field, &value.to_le_bytes())?;
    }
    put(&mut out, 24, &[0; 40])?;
    Ok(out)
}
