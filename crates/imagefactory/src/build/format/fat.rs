//! EFI system partitions: FAT32, written in one pass (Microsoft FAT specification 1.03).
//!
//! Every file lies in one piece and begins at a multiple of 2048 bytes, so that the tree of an
//! ISO image can name the same bytes.

use std::collections::BTreeMap;

use super::content::Content;
use super::raw::{broken, fit, index, put};
use crate::error::Result;

/// A file for a partition.
#[derive(Debug, Clone)]
pub struct EspFile {
    /// Path with slashes, without a leading one.
    pub path: String,
    /// What is in it.
    pub content: Content,
    /// Whether it has the attribute "read-only".
    pub read_only: bool,
}

/// A partition, laid out.
#[derive(Debug, Clone)]
pub struct Esp {
    /// The whole partition.
    pub content: Content,
    /// Where each file begins in it, in bytes; no entry for empty files.
    pub offsets: BTreeMap<String, u64>,
    lengths: BTreeMap<String, u32>,
}

impl Esp {
    /// The length of a file of the partition, in bytes.
    pub(super) fn len_of(&self, path: &str) -> Result<u32> {
        let len = self.lengths.get(path).copied();
        len.ok_or_else(|| broken("the EFI partition", &format!("it has no file {path}")))
    }
}

const SECTOR: u64 = 512;
const ALIGNED: u64 = 4;
const RESERVED: u64 = 32;
/// With fewer clusters a volume is taken for FAT16.
const FEWEST_CLUSTERS: u64 = 65_525;
const SERIAL: u32 = 0x1234_ABCD;
const LABEL: &[u8; 11] = b"EFI        ";
const END: u32 = 0x0FFF_FFFF;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 0x0021;

#[derive(Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Self>,
    files: BTreeMap<&'a str, &'a EspFile>,
    cluster: u32,
}

/// A partition of at least `least` bytes (and of as many as FAT32 needs) with these files.
///
/// # Errors
/// A path makes no sense or is there twice (case does not count), a file has 4 GiB or more.
pub fn esp(files: &[EspFile], least: u64) -> Result<Esp> {
    let mut root = Folder::default();
    for file in files {
        let mut folder = &mut root;
        let mut parts = file.path.split('/').peekable();
        while let Some(part) = parts.next() {
            check_name(part, &file.path)?;
            if parts.peek().is_some() {
                folder = folder.folders.entry(part).or_default();
            } else if folder.files.insert(part, file).is_some() {
                return Err(broken("the EFI partition", &format!("{} twice", file.path)));
            }
        }
    }
    let mut plan = Plan { next: 2, chains: Vec::new(), offsets: BTreeMap::new() };
    plan.folder(&mut root, true)?;
    let placed: BTreeMap<&str, u32> = plan.files(&root)?;
    let used = u64::from(plan.next) - 2;
    let data = (least / SECTOR).max(FEWEST_CLUSTERS + 4096).max(used + 8);
    let clusters = data.next_multiple_of(2048);
    let table = ((clusters + 2) * 4).div_ceil(SECTOR);
    // Data begins at a multiple of four sectors.
    let reserved = RESERVED + (ALIGNED - (RESERVED + 2 * table) % ALIGNED) % ALIGNED;
    let total = reserved + 2 * table + clusters;
    let taken: u64 = plan.chains.iter().map(|(_, count)| u64::from(*count)).sum();
    let region = boot_region(reserved, table, total, clusters - taken, plan.next)?;
    let mut content = Content::bytes(region);
    let mut fat = vec![0; index(table * SECTOR)?];
    put(&mut fat, 0, &0x0FFF_FFF8_u32.to_le_bytes())?;
    put(&mut fat, 4, &END.to_le_bytes())?;
    for (first, count) in &plan.chains {
        for cluster in *first..first + count {
            let next = if cluster + 1 == first + count { END } else { cluster + 1 };
            put(&mut fat, cluster as usize * 4, &next.to_le_bytes())?;
        }
    }
    let fat = Content::bytes(fat);
    content.push(fat.clone());
    content.push(fat);
    let start = content.len();
    let at = |cluster: u32| start + (u64::from(cluster) - 2) * SECTOR;
    write_folder(&root, None, &placed, &at, &mut content)?;
    write_files(&root, &placed, &at, &mut content);
    content.extend_to(total * SECTOR);
    let offsets = plan.offsets.into_iter().map(|(path, cluster)| (path, at(cluster))).collect();
    let lengths =
        files.iter().map(|file| Ok((file.path.clone(), fit(file.content.len(), &file.path)?)));
    Ok(Esp { content, offsets, lengths: lengths.collect::<Result<_>>()? })
}

struct Plan {
    next: u32,
    /// First cluster and count of each chain.
    chains: Vec<(u32, u32)>,
    offsets: BTreeMap<String, u32>,
}

impl Plan {
    fn take(&mut self, bytes: u64) -> Result<u32> {
        let count = fit(bytes.div_ceil(SECTOR).max(1), "a file")?;
        let first = self.next;
        let after = u64::from(first) + u64::from(count);
        self.next = fit(after, "the EFI partition")?;
        self.chains.push((first, count));
        Ok(first)
    }

    fn folder(&mut self, folder: &mut Folder<'_>, root: bool) -> Result<()> {
        let mut names = ShortNames::default();
        let own = if root { 1 } else { 2 };
        let folders = folder.folders.keys();
        let entries: usize =
            folders.chain(folder.files.keys()).map(|name| names.of(name).map_or(1, |n| n.1)).sum();
        folder.cluster = self.take((own + entries) as u64 * 32)?;
        folder.folders.values_mut().try_for_each(|inner| self.folder(inner, false))
    }

    fn files<'a>(&mut self, folder: &Folder<'a>) -> Result<BTreeMap<&'a str, u32>> {
        let mut placed = BTreeMap::new();
        for inner in folder.folders.values() {
            placed.extend(self.files(inner)?);
        }
        for file in folder.files.values().filter(|file| !file.content.is_empty()) {
            let unit = u32::try_from(ALIGNED).unwrap_or(1);
            self.next = (self.next - 2).next_multiple_of(unit) + 2;
            let first = self.take(u64::from(fit(file.content.len(), &file.path)?))?;
            placed.insert(file.path.as_str(), first);
            self.offsets.insert(file.path.clone(), first);
        }
        Ok(placed)
    }
}

fn check_name(name: &str, path: &str) -> Result<()> {
    let odd = |c: char| c.is_control() || !c.is_ascii() || "\"*/:<>?\\|".contains(c);
    if name.is_empty()
        || name.starts_with('.')
        || name.ends_with(['.', ' '])
        || name.contains(odd)
        || name.len() > 255
    {
        return Err(broken("the EFI partition", &format!("{path:?} cannot be a name on FAT")));
    }
    Ok(())
}

/// Names of eight and three characters, each once in a folder.
#[derive(Default)]
struct ShortNames(Vec<[u8; 11]>);

impl ShortNames {
    /// The short name, and how many entries the folder needs for it.
    fn of(&mut self, name: &str) -> Option<([u8; 11], usize)> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-_".contains(c);
        let fits = stem.len() <= 8
            && extension.len() <= 3
            && stem.chars().chain(extension.chars()).all(plain);
        let clean = |text: &str, most: usize| -> String {
            text.chars().map(|c| c.to_ascii_uppercase()).filter(|c| plain(*c)).take(most).collect()
        };
        let pack = |stem: &str, extension: &str| {
            let mut packed = [b' '; 11];
            let bytes = stem.bytes().enumerate();
            let extension = extension.bytes().enumerate().map(|(at, byte)| (at + 8, byte));
            for (at, byte) in bytes.chain(extension) {
                if let Some(slot) = packed.get_mut(at) {
                    *slot = byte;
                }
            }
            packed
        };
        if fits {
            let packed = pack(stem, extension);
            self.0.push(packed);
            return Some((packed, 1));
        }
        let extension = clean(extension, 3);
        let long = 1 + name.len().div_ceil(13);
        (1..1000).find_map(|number| {
            let tail = format!("~{number}");
            let packed = pack(&(clean(stem, 8 - tail.len()) + &tail), &extension);
            (!self.0.contains(&packed)).then(|| {
                self.0.push(packed);
                (packed, long)
            })
        })
    }
}

fn entry(short: &[u8; 11], attributes: u8, cluster: u32, size: u32) -> Vec<u8> {
    let [low0, low1, high0, high1] = cluster.to_le_bytes();
    let [day0, day1] = DATE.to_le_bytes();
    let mut entry = short.to_vec();
    entry.extend([attributes, 0, 0, 0, 0, day0, day1, day0, day1, high0, high1, 0, 0, day0, day1]);
    entry.extend([low0, low1]);
    entry.extend(size.to_le_bytes());
    entry
}

fn long_entries(name: &str, short: &[u8; 11]) -> Vec<u8> {
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(13) {
        units.push(0);
        units.resize(units.len().next_multiple_of(13), 0xffff);
    }
    let count = units.len() / 13;
    let mut out = Vec::new();
    for (number, part) in units.chunks(13).enumerate().rev() {
        let last = if number + 1 == count { 0x40 } else { 0 };
        out.push(u8::try_from(number + 1).unwrap_or(0x3f) | last);
        for (at, unit) in part.iter().enumerate() {
            out.extend(unit.to_le_bytes());
            match at {
                4 => out.extend([0x0f, 0, sum]),
                10 => out.extend([0, 0]),
                _ => {}
            }
        }
    }
    out
}

fn write_folder(
    folder: &Folder<'_>,
    parent: Option<u32>,
    placed: &BTreeMap<&str, u32>,
    at: &dyn Fn(u32) -> u64,
    content: &mut Content,
) -> Result<()> {
    let mut bytes = Vec::new();
    match parent {
        None => bytes.extend(entry(LABEL, 0x08, 0, 0)),
        Some(parent) => {
            bytes.extend(entry(b".          ", 0x10, folder.cluster, 0));
            bytes.extend(entry(b"..         ", 0x10, parent, 0));
        }
    }
    let mut names = ShortNames::default();
    let folders = folder.folders.iter().map(|(name, inner)| (*name, 0x10, inner.cluster, 0));
    let files = folder.files.iter().map(|(name, file)| {
        let first = placed.get(file.path.as_str()).copied().unwrap_or_default();
        (*name, 0x20 | u8::from(file.read_only), first, file.content.len())
    });
    for (name, attributes, cluster, size) in folders.chain(files) {
        let (short, count) = names
            .of(name)
            .ok_or_else(|| broken("the EFI partition", &format!("no short name for {name}")))?;
        if count > 1 {
            bytes.extend(long_entries(name, &short));
        }
        bytes.extend(entry(&short, attributes, cluster, fit(size, name)?));
    }
    content.extend_to(at(folder.cluster));
    content.push(Content::bytes(bytes));
    // The parent of a folder of the root is written as 0.
    let own = if parent.is_none() { 0 } else { folder.cluster };
    let mut inner = folder.folders.values();
    inner.try_for_each(|inner| write_folder(inner, Some(own), placed, at, content))
}

fn write_files(
    folder: &Folder<'_>,
    placed: &BTreeMap<&str, u32>,
    at: &dyn Fn(u32) -> u64,
    content: &mut Content,
) {
    for inner in folder.folders.values() {
        write_files(inner, placed, at, content);
    }
    for file in folder.files.values() {
        if let Some(first) = placed.get(file.path.as_str()) {
            content.extend_to(at(*first));
            content.push(file.content.clone());
        }
    }
}

fn boot_region(reserved: u64, table: u64, total: u64, free: u64, next: u32) -> Result<Vec<u8>> {
    let mut boot = vec![0; 512];
    put(&mut boot, 0, b"\xeb\x58\x90mkfs.fat")?;
    put(&mut boot, 11, &[0, 2, 1])?;
    put(&mut boot, 14, &u16::try_from(reserved).unwrap_or(32).to_le_bytes())?;
    put(&mut boot, 16, &[2])?;
    put(&mut boot, 21, &[0xf8])?;
    put(&mut boot, 24, &[32, 0, 64, 0])?;
    put(&mut boot, 32, &fit(total, "the EFI partition")?.to_le_bytes())?;
    put(&mut boot, 36, &fit(table, "the EFI partition")?.to_le_bytes())?;
    put(&mut boot, 44, &[2, 0, 0, 0, 1, 0, 6, 0])?;
    put(&mut boot, 64, &[0x80, 0, 0x29])?;
    put(&mut boot, 67, &SERIAL.to_le_bytes())?;
    put(&mut boot, 71, LABEL)?;
    put(&mut boot, 82, b"FAT32   ")?;
    put(&mut boot, 510, &[0x55, 0xaa])?;
    let mut info = vec![0; 512];
    put(&mut info, 0, b"RRaA")?;
    put(&mut info, 484, b"rrAa")?;
    put(&mut info, 488, &fit(free, "the EFI partition")?.to_le_bytes())?;
    put(&mut info, 492, &next.to_le_bytes())?;
    put(&mut info, 510, &[0x55, 0xaa])?;
    let mut region = vec![0; index(reserved * SECTOR)?];
    for copy in [0, 6 * 512] {
        put(&mut region, copy, &boot)?;
        put(&mut region, copy + 512, &info)?;
    }
    Ok(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> EspFile {
        EspFile { path: path.to_owned(), content: Content::bytes(bytes), read_only: false }
    }

    #[test]
    fn files_lie_where_the_plan_says() {
        let files = [
            file("EFI/BOOT/BOOTX64.EFI", b"boot"),
            file("loader/loader.conf", b"conf"),
            file("EFI/Linux/Talos-v1.12.11.efi", &[7; 3000]),
            file("EFI/Linux/empty.efi", b""),
        ];
        let esp = esp(&files, 0).unwrap();
        let bytes = esp.content.read_all(64 << 20).unwrap();
        assert!(bytes.len() >= 33 << 20);
        assert_eq!(esp.offsets.len(), 3);
        for (path, offset) in &esp.offsets {
            assert_eq!(offset % 2048, 0, "{path}");
            let wanted = files.iter().find(|file| &file.path == path).unwrap();
            let wanted = wanted.content.read_all(1 << 20).unwrap();
            let at = usize::try_from(*offset).unwrap();
            assert_eq!(bytes.get(at..at + wanted.len()), Some(wanted.as_slice()), "{path}");
        }
    }

    #[test]
    fn short_names_are_each_once() {
        let mut names = ShortNames::default();
        assert_eq!(names.of("BOOTX64.EFI"), Some((*b"BOOTX64 EFI", 1)));
        assert_eq!(names.of("loader.conf"), Some((*b"LOADER~1CON", 2)));
        assert_eq!(names.of("loader.config"), Some((*b"LOADER~2CON", 2)));
        assert_eq!(names.of("Talos-v1.12.11.efi"), Some((*b"TALOS-~1EFI", 3)));
        assert!(esp(&[file("a/..", b"")], 0).is_err());
        assert!(esp(&[file("a", b"1"), file("a", b"2")], 0).is_err());
    }
}
