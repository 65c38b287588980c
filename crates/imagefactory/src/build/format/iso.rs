//! ISO 9660 images with Rock Ridge and El Torito, that also start from a disk (ECMA-119, RRIP
//! 1.10, El Torito 1.0).

use std::collections::{BTreeMap, BTreeSet};

use super::content::Content;
use super::fat::Esp;
use super::raw::{broken, fit, index, put};
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
/// Where a boot image keeps the place of its own second part.
const GRUB_BLOCKLIST: usize = 2548;
/// Where `boot_hybrid.img` keeps the place of the boot image.
const HYBRID_BLOCK: usize = 0x1b0;
/// Sectors at the end that drives may fail to read ahead into.
const TAIL: u64 = 150;

#[derive(Default)]
struct Folder {
    folders: BTreeMap<String, Self>,
    files: BTreeMap<String, IsoEntry>,
}

/// A folder or file with its identifier, in the order of the standard.
struct Node {
    name: String,
    identifier: Vec<u8>,
    body: Body,
}

enum Body {
    /// Number of the folder in the list of folders.
    Folder(usize),
    /// Path.
    File(String),
}

struct Listed {
    parent: usize,
    identifier: Vec<u8>,
    children: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Extent {
    sector: u32,
    len: u32,
}

/// Lays an image out.
///
/// # Errors
/// A name or an id does not fit the format, a file has 4 GiB or more, or an entry says that it is
/// in the EFI partition and is not.
pub fn iso(mut image: IsoImage) -> Result<Content> {
    check_id(&image.volume, 32, |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')?;
    check_id(&image.volume_set, 128, |c| c.is_ascii_graphic())?;
    if let Some(bios) = &image.bios {
        let core = Content::bytes(bios.image.as_slice());
        image.files.insert(ELTORITO.to_owned(), IsoEntry::File(core));
    }
    let folders = list(&image.files)?;
    let date = Date::of(image.time)?;
    let tables: Vec<usize> = folders.iter().map(|f| 8 + even(f.identifier.len())).collect();
    let table_len = tables.iter().sum::<usize>() as u64;
    let table_sectors = table_len.div_ceil(SECTOR);
    let mut sector = 19 + 2 * table_sectors;
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
    let mebibyte = (1 << 20) / SECTOR;
    let esp_sector = match &image.esp {
        Some(_) => sector.next_multiple_of(mebibyte),
        None => sector,
    };
    let esp_len = image.esp.as_ref().map(|esp| esp.content.len()).unwrap_or_default();
    let total = esp_sector + esp_len.div_ceil(SECTOR) + TAIL;
    for (path, entry) in &image.files {
        let IsoEntry::InEsp { file, offset, len } = entry else { continue };
        let outside = || broken("the ISO", &format!("{path} is not in the EFI partition"));
        let esp = image.esp.as_ref().ok_or_else(outside)?;
        if offset + len > u64::from(esp.len_of(file)?) || !offset.is_multiple_of(SECTOR) {
            return Err(outside());
        }
        let start = esp.offsets.get(file).copied().unwrap_or_default() + offset;
        let at = fit(esp_sector + start / SECTOR, "the ISO")?;
        extents.insert(path.clone(), Extent { sector: at, len: fit(*len, path)? });
    }
    let known = |body: &Body| match body {
        Body::Folder(number) => places.get(*number).copied(),
        Body::File(path) => extents.get(path).copied(),
    };
    let mut out = Content::default();
    let esp = image.esp.as_ref().map(|_| (esp_sector, esp_len));
    let core = extents.get(ELTORITO).filter(|_| image.bios.is_some()).copied();
    out.push(Content::bytes(system_area(image.bios.as_ref(), core, esp)?));
    let root = places.first().copied().unwrap_or(Extent { sector: 0, len: 0 });
    let first_table = Extent { sector: 19, len: fit(table_len, "the ISO")? };
    let second_table = fit(19 + table_sectors, "the ISO")?;
    out.push(Content::bytes(volume(&image, total, (first_table, second_table), root, &date)?));
    out.push(Content::bytes(boot_record(catalogue.sector)?));
    let mut end = b"\xffCD001\x01".to_vec();
    end.resize(index(SECTOR)?, 0);
    out.push(Content::bytes(end));
    for big in [false, true] {
        let mut table = Vec::new();
        for (folder, place) in folders.iter().zip(&places) {
            let parent = u16::try_from(folder.parent + 1)
                .map_err(|_| broken("the ISO", "it has too many folders"))?;
            table.push(len8(folder.identifier.len())?);
            table.push(0);
            match big {
                false => {
                    table.extend(place.sector.to_le_bytes());
                    table.extend(parent.to_le_bytes());
                }
                true => {
                    table.extend(place.sector.to_be_bytes());
                    table.extend(parent.to_be_bytes());
                }
            }
            table.extend(&folder.identifier);
            table.resize(even(table.len()), 0);
        }
        out.push(Content::bytes(table));
        out.align(SECTOR);
    }
    for number in 0..folders.len() {
        out.push(Content::bytes(packed(&records(&folders, number, &known, &date)?)));
        out.align(SECTOR);
    }
    out.push(Content::bytes(boot_catalogue(core, esp)?));
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
    if let Some(esp) = image.esp {
        out.extend_to(esp_sector * SECTOR);
        out.push(esp.content);
    }
    out.extend_to(total * SECTOR);
    Ok(out)
}

fn check_id(id: &str, most: usize, good: impl Fn(char) -> bool) -> Result<()> {
    if id.is_empty() || id.len() > most || !id.chars().all(good) {
        return Err(broken("the ISO", &format!("{id:?} cannot be its name")));
    }
    Ok(())
}

fn len8(len: usize) -> Result<u8> {
    u8::try_from(len).map_err(|_| broken("the ISO", "a name is too long"))
}

fn even(len: usize) -> usize {
    len.next_multiple_of(2)
}

/// All folders, parents first, those of one depth together, as path tables want them.
fn list(files: &BTreeMap<String, IsoEntry>) -> Result<Vec<Listed>> {
    let mut root = Folder::default();
    for (path, entry) in files {
        let mut folder = &mut root;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if matches!(part, "" | "." | "..") || part.contains('\0') || part.len() > 100 {
                return Err(broken("the ISO", &format!("{path:?} cannot be a path on it")));
            }
            if parts.peek().is_some() {
                folder = folder.folders.entry(part.to_owned()).or_default();
            } else {
                folder.files.insert(part.to_owned(), entry.clone());
            }
        }
    }
    let mut listed = vec![Listed { parent: 0, identifier: vec![0], children: Vec::new() }];
    let mut open: Vec<(usize, String, Folder)> = vec![(0, String::new(), root)];
    while !open.is_empty() {
        let mut deeper = Vec::new();
        for (number, prefix, folder) in open {
            let mut used = BTreeSet::new();
            let mut children: Vec<(Vec<u8>, String, Option<Folder>)> = Vec::new();
            for (name, inner) in folder.folders {
                if folder.files.contains_key(&name) {
                    return Err(broken("the ISO", &format!("{prefix}{name} is file and folder")));
                }
                children.push((identifier(&name, true, &mut used), name, Some(inner)));
            }
            for name in folder.files.into_keys() {
                children.push((identifier(&name, false, &mut used), name, None));
            }
            children.sort_by(|a, b| a.0.cmp(&b.0));
            let mut nodes = Vec::new();
            for (identifier, name, inner) in children {
                let path = format!("{prefix}{name}");
                let body = match inner {
                    None => Body::File(path),
                    Some(inner) => {
                        let at = listed.len();
                        let identifier = identifier.clone();
                        listed.push(Listed { parent: number, identifier, children: Vec::new() });
                        deeper.push((at, format!("{path}/"), inner));
                        Body::Folder(at)
                    }
                };
                nodes.push(Node { name, identifier, body });
            }
            if let Some(folder) = listed.get_mut(number) {
                folder.children = nodes;
            }
        }
        open = deeper;
    }
    Ok(listed)
}

/// A name of the letters that the standard allows, once in its folder; Rock Ridge has the true one.
fn identifier(name: &str, folder: bool, used: &mut BTreeSet<String>) -> Vec<u8> {
    let letters = |text: &str, most: usize| -> String {
        let upper = text.chars().map(|c| c.to_ascii_uppercase()).take(most);
        upper.map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    let (stem, extension) = match folder {
        true => (name, ""),
        false => name.rsplit_once('.').unwrap_or((name, "")),
    };
    let extension = letters(extension, 3);
    let build = |stem: String| match folder {
        true => stem,
        false => format!("{stem}.{extension};1"),
    };
    let mut text = build(letters(stem, 24));
    let mut number = 0;
    while !used.insert(text.clone()) {
        number += 1;
        text = build(format!("{}{number:04}", letters(stem, 20)));
    }
    text.into_bytes()
}

/// The records of a folder: itself, its parent, its children.
fn records(
    folders: &[Listed],
    number: usize,
    known: &dyn Fn(&Body) -> Option<Extent>,
    date: &Date,
) -> Result<Vec<Vec<u8>>> {
    let Some(folder) = folders.get(number) else { return Ok(Vec::new()) };
    let none = Extent { sector: 0, len: 0 };
    let at = |number| known(&Body::Folder(number)).unwrap_or(none);
    let links = |number: usize| {
        let children = folders.get(number).map(|folder| folder.children.as_slice());
        let inner = children.unwrap_or_default().iter();
        fit(inner.filter(|node| matches!(node.body, Body::Folder(_))).count() as u64 + 2, "links")
    };
    // Extents of folders are whole sectors.
    let whole = |extent: Extent| Extent { len: extent.len.next_multiple_of(2048), ..extent };
    let mut own = Vec::new();
    if number == 0 {
        own.extend(b"SP\x07\x01\xbe\xef\0");
    }
    own.extend(posix(0o040_755, links(number)?));
    if number == 0 {
        own.extend(b"ER\x12\x01\x0a\0\0\x01RRIP_1991A");
    }
    let mut out = vec![record(&[0], whole(at(number)), true, &own, date)?];
    let parent = posix(0o040_755, links(folder.parent)?);
    out.push(record(&[1], whole(at(folder.parent)), true, &parent, date)?);
    for node in &folder.children {
        let extent = known(&node.body).unwrap_or(none);
        let (is_folder, mut system) = match node.body {
            Body::Folder(number) => (true, posix(0o040_755, links(number)?)),
            Body::File(_) => (false, posix(0o100_644, 1)),
        };
        let len = len8(node.name.len() + 5)?;
        system.extend([b'N', b'M', len, 1, 0]);
        system.extend(node.name.as_bytes());
        let extent = if is_folder { whole(extent) } else { extent };
        out.push(record(&node.identifier, extent, is_folder, &system, date)?);
    }
    Ok(out)
}

/// Records in sectors, none across an end.
fn packed(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for record in records {
        if out.len() % 2048 + record.len() > 2048 {
            out.resize(out.len().next_multiple_of(2048), 0);
        }
        out.extend(record);
    }
    out
}

fn posix(mode: u32, links: u32) -> Vec<u8> {
    let mut out = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        out.extend(both32(value));
    }
    out
}

fn both32(value: u32) -> [u8; 8] {
    let mut out = [0; 8];
    let bytes = value.to_le_bytes().into_iter().chain(value.to_be_bytes());
    out.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    out
}

fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

fn record(
    identifier: &[u8],
    at: Extent,
    folder: bool,
    system: &[u8],
    date: &Date,
) -> Result<Vec<u8>> {
    let mut out = vec![0, 0];
    out.extend(both32(at.sector));
    out.extend(both32(at.len));
    out.extend(date.short);
    out.extend([if folder { 2 } else { 0 }, 0, 0]);
    out.extend(both16(1));
    out.push(len8(identifier.len())?);
    out.extend(identifier);
    out.resize(even(out.len()), 0);
    out.extend(system);
    out.resize(even(out.len()), 0);
    let len = len8(out.len())?;
    put(&mut out, 0, &[len])?;
    Ok(out)
}

fn volume(
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

fn boot_record(catalogue: u32) -> Result<Vec<u8>> {
    let mut out = b"\0CD001\x01EL TORITO SPECIFICATION".to_vec();
    out.resize(index(SECTOR)?, 0);
    put(&mut out, 0x47, &catalogue.to_le_bytes())?;
    Ok(out)
}

fn boot_catalogue(core: Option<Extent>, esp: Option<(u64, u64)>) -> Result<Vec<u8>> {
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
fn system_area(
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
fn with_boot_info(image: &[u8], at: Extent) -> Result<Vec<u8>> {
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

struct Date {
    short: [u8; 7],
    long: [u8; 17],
}

impl Date {
    /// A time in UTC, by the algorithm of days since 1970 in the Gregorian calendar.
    fn of(seconds: u64) -> Result<Self> {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let wrong = || broken("the ISO", "its time is out of range");
        let since_1900 = u8::try_from(year - 1900).map_err(|_| wrong())?;
        let mut short = [since_1900, 0, 0, 0, 0, 0, 0];
        let parts = [month, day, hour, minute, second];
        for (slot, part) in short.iter_mut().skip(1).zip(parts) {
            *slot = u8::try_from(part).map_err(|_| wrong())?;
        }
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
        let long = text.into_bytes().try_into().map_err(|_| wrong())?;
        Ok(Self { short, long })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fat::{EspFile, esp};
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let long = |seconds| String::from_utf8(Date::of(seconds).unwrap().long.to_vec()).unwrap();
        assert_eq!(long(0), "1970010100000000\0");
        assert_eq!(long(1_700_000_000), "2023111422132000\0");
        assert_eq!(long(951_782_400), "2000022900000000\0");
        assert!(Date::of(u64::MAX / 4).is_err());
    }

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
