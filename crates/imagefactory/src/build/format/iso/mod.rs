//! ISO 9660 images with Rock Ridge and El Torito, that also start from a disk (ECMA-119, RRIP
//! 1.10, El Torito 1.0).

mod boot;
mod date;
mod folder;
mod record;
mod volume;

use std::collections::BTreeMap;

use self::boot::{boot_catalogue, boot_record, system_area, with_boot_info};
use self::date::Date;
use self::folder::{Body, Listed, list, table, table_len};
use self::record::{packed, records};
use self::volume::{check_ids, terminator, volume};
use super::content::Content;
use super::fat::Esp;
use super::raw::{broken, fit};
use crate::error::Result;

/// A file of the tree.
#[derive(Debug, Clone)]
pub enum IsoEntry {
    /// A file with content of its own.
    File(Content),
    /// A part of a file of the EFI partition: the same bytes, named once more.
    InEsp {
        /// Path of the file in the partition.
        file: String,
        /// Where the part begins in it, in bytes; a multiple of 2048.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
}

/// What BIOS starts from.
#[derive(Debug, Clone)]
pub struct Bios {
    /// GRUB's El Torito image, as [`eltorito_image`](super::eltorito_image) makes it.
    pub image: Vec<u8>,
    /// GRUB's `boot_hybrid.img`: code for the first sector, so that a disk starts too.
    pub boot_hybrid: Vec<u8>,
}

/// An image to lay out.
#[derive(Debug, Clone)]
pub struct IsoImage {
    /// Volume id, at most 32 characters of `A-Z0-9_`.
    pub volume: String,
    /// Volume set id, at most 128 characters.
    pub volume_set: String,
    /// Files by path (slashes, none at the start).
    pub files: BTreeMap<String, IsoEntry>,
    /// The EFI partition.
    pub esp: Option<Esp>,
    /// The BIOS side.
    pub bios: Option<Bios>,
    /// What the image tells of itself, at most 512 bytes; goes where the standard leaves room for
    /// applications.
    pub identity: Vec<u8>,
    /// All times, in seconds since 1970.
    pub time: u64,
}

const SECTOR: u64 = 2048;
const ELTORITO: &str = "boot/grub/i386-pc/eltorito.img";
/// Sector of the first path table: it comes after the system area and three descriptors.
const FIRST_TABLE: u64 = 19;
/// Sectors at the end that drives may fail to read ahead into.
const TAIL: u64 = 150;

/// A run of sectors, with the bytes in it that count.
#[derive(Clone, Copy)]
struct Extent {
    sector: u32,
    len: u32,
}

/// Where everything lies.
struct Layout {
    folders: Vec<Listed>,
    date: Date,
    /// Length of a path table in bytes.
    table_len: u64,
    /// Places of the folders.
    places: Vec<Extent>,
    catalogue: Extent,
    /// Places of the files, by path.
    extents: BTreeMap<String, Extent>,
    /// First sector of the EFI partition, and its length in bytes.
    esp: Option<(u64, u64)>,
    /// All sectors.
    total: u64,
}

/// Lays an image out.
///
/// # Errors
/// A name or an id does not fit the format, a file has 4 GiB or more, or an entry says that it is
/// in the EFI partition and is not.
pub fn iso(mut image: IsoImage) -> Result<Content> {
    check_ids(&image)?;
    if let Some(bios) = &image.bios {
        let core = Content::bytes(bios.image.as_slice());
        image.files.insert(ELTORITO.to_owned(), IsoEntry::File(core));
    }
    let layout = Layout::of(&image)?;
    let core = layout.extents.get(ELTORITO).filter(|_| image.bios.is_some()).copied();
    let mut out = Content::default();
    layout.descriptors(&image, core, &mut out)?;
    layout.directories(&mut out)?;
    out.push(Content::bytes(boot_catalogue(core, layout.esp)?));
    out.align(SECTOR);
    for (path, entry) in &image.files {
        let IsoEntry::File(content) = entry else { continue };
        let patched = match (&image.bios, core) {
            (Some(bios), Some(core)) if path == ELTORITO => {
                Content::bytes(with_boot_info(&bios.image, core)?)
            }
            _ => content.clone(),
        };
        out.push(patched);
        out.align(SECTOR);
    }
    if let (Some(esp), Some((sector, _))) = (image.esp, layout.esp) {
        out.extend_to(sector * SECTOR);
        out.push(esp.content);
    }
    out.extend_to(layout.total * SECTOR);
    Ok(out)
}

impl Layout {
    fn of(image: &IsoImage) -> Result<Self> {
        let folders = list(&image.files)?;
        let date = Date::of(image.time)?;
        let table_len = table_len(&folders);
        let mut sector = FIRST_TABLE + 2 * table_len.div_ceil(SECTOR);
        let mut take = |bytes: u64| -> Result<Extent> {
            let at = fit(sector, "the ISO")?;
            sector += bytes.div_ceil(SECTOR);
            Ok(Extent { sector: at, len: fit(bytes, "a file of the ISO")? })
        };
        let mut places: Vec<Extent> = Vec::new();
        for number in 0..folders.len() {
            let lens = records(&folders, number, &|_| None, &date)?;
            places.push(take(packed(&lens).len() as u64)?);
        }
        let catalogue = take(SECTOR)?;
        let mut extents: BTreeMap<String, Extent> = BTreeMap::new();
        for (path, entry) in &image.files {
            if let IsoEntry::File(content) = entry {
                extents.insert(path.clone(), take(content.len())?);
            }
        }
        // Partitions begin at whole mebibytes.
        let esp = image.esp.as_ref();
        let esp = esp.map(|esp| (sector.next_multiple_of((1 << 20) / SECTOR), esp.content.len()));
        let end = esp.map_or(sector, |(first, len)| first + len.div_ceil(SECTOR));
        for (path, entry) in &image.files {
            if let IsoEntry::InEsp { file, offset, len } = entry {
                let extent = in_esp(image, esp, (file, *offset, *len));
                let why = || broken("the ISO", &format!("{path} is not in the EFI partition"));
                extents.insert(path.clone(), extent?.ok_or_else(why)?);
            }
        }
        let total = end + TAIL;
        Ok(Self { folders, date, table_len, places, catalogue, extents, esp, total })
    }

    /// All that stands before the directories' records but the path tables.
    fn descriptors(&self, image: &IsoImage, core: Option<Extent>, out: &mut Content) -> Result<()> {
        out.push(Content::bytes(system_area(image.bios.as_ref(), core, self.esp)?));
        let root = self.places.first().copied().unwrap_or(Extent { sector: 0, len: 0 });
        let first =
            Extent { sector: fit(FIRST_TABLE, "the ISO")?, len: fit(self.table_len, "the ISO")? };
        let second = fit(FIRST_TABLE + self.table_len.div_ceil(SECTOR), "the ISO")?;
        let described = volume(image, self.total, (first, second), root, &self.date)?;
        out.push(Content::bytes(described));
        out.push(Content::bytes(boot_record(self.catalogue.sector)?));
        out.push(Content::bytes(terminator()?));
        Ok(())
    }

    /// The path tables, and the records of all folders.
    fn directories(&self, out: &mut Content) -> Result<()> {
        for big in [false, true] {
            out.push(Content::bytes(table(&self.folders, &self.places, big)?));
            out.align(SECTOR);
        }
        let known = |body: &Body| match body {
            Body::Folder(number) => self.places.get(*number).copied(),
            Body::File(path) => self.extents.get(path).copied(),
        };
        for number in 0..self.folders.len() {
            let records = records(&self.folders, number, &known, &self.date)?;
            out.push(Content::bytes(packed(&records)));
            out.align(SECTOR);
        }
        Ok(())
    }
}

/// Where a part of a file of the EFI partition is; `None` where there is no such part.
fn in_esp(
    image: &IsoImage,
    place: Option<(u64, u64)>,
    (file, offset, len): (&str, u64, u64),
) -> Result<Option<Extent>> {
    let (Some(esp), Some((first, _))) = (&image.esp, place) else { return Ok(None) };
    let end = offset.checked_add(len);
    let whole = u64::from(esp.len_of(file)?);
    if end.is_none_or(|end| end > whole) || !offset.is_multiple_of(SECTOR) {
        return Ok(None);
    }
    // An empty file has no place.
    let start = esp.offsets.get(file).copied().unwrap_or_default();
    let sector = fit(first + (start + offset) / SECTOR, "the ISO")?;
    Ok(Some(Extent { sector, len: fit(len, "a file of the ISO")? }))
}

#[cfg(test)]
mod tests {
    use super::super::fat::{EspFile, esp};
    use super::*;

    #[test]
    fn a_file_of_the_partition_is_stored_once() {
        let file = EspFile {
            path: "EFI/BOOT/BOOTX64.EFI".into(),
            content: Content::bytes(b"unmistakable".as_slice()),
            read_only: false,
        };
        let image = IsoImage {
            volume: "TALOS_V1_12_11".into(),
            volume_set: "Talos-v1.12.11".into(),
            files: BTreeMap::from([
                (
                    file.path.clone(),
                    IsoEntry::InEsp { file: file.path.clone(), offset: 0, len: 12 },
                ),
                ("boot/vmlinuz".into(), IsoEntry::File(Content::bytes(b"kernel".as_slice()))),
            ]),
            esp: Some(esp(&[file], 0).unwrap()),
            bios: None,
            identity: Vec::new(),
            time: 0,
        };
        let bytes = iso(image.clone()).unwrap().read_all(64 << 20).unwrap();
        let count = bytes.windows(12).filter(|window| window == b"unmistakable").count();
        assert_eq!(count, 1);
        assert_eq!(bytes.len() % 2048, 0);
        let mut wrong = image.clone();
        let none = IsoEntry::InEsp { file: "EFI/none".into(), offset: 0, len: 1 };
        wrong.files.insert("EFI/none".into(), none);
        assert!(iso(wrong).is_err());
        let mut wrong = image.clone();
        wrong.files.insert("boot/vmlinuz/x".into(), IsoEntry::File(Content::default()));
        assert!(iso(wrong).is_err());
        assert!(iso(IsoImage { volume: "lower".into(), ..image }).is_err());
    }
}
