//! Unified kernel images: sections behind a boot stub in a PE32+ file (UAPI.5, Microsoft PE/COFF).

use super::content::Content;
use super::raw::{broken, fit, index, put, u16_at, u32_at};
use crate::error::Result;

/// A section to append.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its name with the dot, at most 8 bytes.
    pub name: &'static str,
    /// What it holds.
    pub content: Content,
}

/// A section that a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Where its content lies in the file.
    pub offset: u64,
    /// Length of its content.
    pub len: u64,
}

const HEADERS_AT: usize = 0x80;
const COFF_LEN: usize = 20;
const SECTION_LEN: usize = 40;
/// Where appended content begins in the file: at whole sectors of a CD, so that an ISO image can
/// name the kernel inside of the image.
const UNIT: u64 = 2048;
/// Initialised data, readable.
const DATA: u32 = 0x4000_0040;
const MOST_STUB: u64 = 16 << 20;

struct Header {
    pe: usize,
    optional: usize,
    optional_len: usize,
    sections: u16,
}

struct Placed {
    name: [u8; 8],
    virtual_size: u32,
    address: u32,
    raw_size: u32,
    flags: u32,
    content: Content,
}

fn header(file: &[u8]) -> Result<Header> {
    let wrong = |why| broken("the EFI file", why);
    let pe = u32_at(file, 0x3c).ok_or_else(|| wrong("it is too short"))? as usize;
    let magic = file.get(pe..).is_some_and(|rest| rest.starts_with(b"PE\0\0"));
    if !file.starts_with(b"MZ") || !magic {
        return Err(wrong("it is no PE file"));
    }
    let short = || wrong("its headers end early");
    let sections = u16_at(file, pe + 6).ok_or_else(short)?;
    let optional_len = usize::from(u16_at(file, pe + 20).ok_or_else(short)?);
    let optional = pe + 4 + COFF_LEN;
    if u16_at(file, optional) != Some(0x20b) || optional_len < 112 {
        return Err(wrong("it is no 64-bit PE file"));
    }
    Ok(Header { pe, optional, optional_len, sections })
}

/// The sections of an EFI file; only headers are read.
///
/// # Errors
/// It is no 64-bit PE file, or a section lies outside of it.
pub fn sections(file: &Content) -> Result<Vec<Found>> {
    let head = file.head(8192)?;
    let header = header(&head)?;
    let table = header.optional + header.optional_len;
    let short = || broken("the EFI file", "its headers end early");
    (0..usize::from(header.sections))
        .map(|number| {
            let at = table + number * SECTION_LEN;
            let name = head.get(at..at + 8).ok_or_else(short)?;
            let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            let virtual_size = u64::from(u32_at(&head, at + 8).ok_or_else(short)?);
            let raw_size = u64::from(u32_at(&head, at + 16).ok_or_else(short)?);
            let offset = u64::from(u32_at(&head, at + 20).ok_or_else(short)?);
            if offset + raw_size > file.len() {
                return Err(broken("the EFI file", &format!("section {name} ends behind it")));
            }
            Ok(Found { name, offset, len: raw_size.min(virtual_size) })
        })
        .collect()
}

/// The version that systemd-boot or its stub tells of itself, such as `257.13-1`.
///
/// # Errors
/// It is no EFI file.
pub fn boot_version(file: &[u8]) -> Result<Option<String>> {
    let content = Content::bytes(file);
    let magic = sections(&content)?.into_iter().find(|section| section.name == ".sdmagic");
    let Some(found) = magic else { return Ok(None) };
    let (start, end) = (index(found.offset)?, index(found.offset + found.len)?);
    let text = String::from_utf8_lossy(file.get(start..end).unwrap_or_default()).into_owned();
    // "#### LoaderInfo: systemd-stub 257.13-1 ####"
    let words = text.trim_end_matches('\0').split_whitespace();
    Ok(words.skip_while(|word| !word.starts_with("systemd-")).nth(1).map(str::to_owned))
}

/// Appends sections to a stub.
///
/// `timestamp` goes into the header, in seconds since 1970.
///
/// # Errors
/// The stub is no 64-bit PE file, has symbols, or the result would be 4 GiB or more.
pub fn uki(stub: &[u8], added: &[Section], timestamp: u32) -> Result<Content> {
    let head = header(stub)?;
    let wrong = |why| broken("the boot stub", why);
    let short = || wrong("its headers end early");
    if stub.len() as u64 > MOST_STUB {
        return Err(wrong("it is bigger than any stub"));
    }
    if u32_at(stub, head.pe + 12) != Some(0) {
        return Err(wrong("it has symbols, which would not survive"));
    }
    let section_unit = u32_at(stub, head.optional + 32).ok_or_else(short)?;
    let file_unit = u32_at(stub, head.optional + 36).ok_or_else(short)?;
    if !section_unit.is_power_of_two() || !file_unit.is_power_of_two() {
        return Err(wrong("its alignment makes no sense"));
    }
    let mut placed = own_sections(stub, &head)?;
    let mut next = end_of(&placed).next_multiple_of(u64::from(section_unit));
    for section in added {
        let mut name = [0; 8];
        put(&mut name, 0, section.name.as_bytes())?;
        let len = section.content.len();
        let raw_size = len.next_multiple_of(u64::from(file_unit));
        placed.push(Placed {
            name,
            virtual_size: fit(len, section.name)?,
            address: fit(next, "the image")?,
            raw_size: fit(raw_size, section.name)?,
            flags: DATA,
            content: section.content.clone(),
        });
        next = (next + len).next_multiple_of(u64::from(section_unit));
    }
    let table = HEADERS_AT + 4 + COFF_LEN + head.optional_len;
    let headers_len = (table + SECTION_LEN * placed.len()).next_multiple_of(file_unit as usize);
    let mut out = vec![0; headers_len];
    put(&mut out, 0, stub.get(..0x40).ok_or_else(short)?)?;
    put(&mut out, 0x3c, &fit(HEADERS_AT as u64, "a header")?.to_le_bytes())?;
    let copied = stub.get(head.pe..head.optional + head.optional_len).ok_or_else(short)?;
    put(&mut out, HEADERS_AT, copied)?;
    let count = u16::try_from(placed.len()).map_err(|_| wrong("too many sections"))?;
    put(&mut out, HEADERS_AT + 6, &count.to_le_bytes())?;
    put(&mut out, HEADERS_AT + 8, &timestamp.to_le_bytes())?;
    let optional = HEADERS_AT + 4 + COFF_LEN;
    put(&mut out, optional + 2, &[0, 0])?;
    let sum = |data: bool| -> Result<u32> {
        let of = placed.iter().filter(|section| (section.flags & 0x40 != 0) == data);
        fit(of.map(|section| u64::from(section.raw_size)).sum(), "the image")
    };
    put(&mut out, optional + 4, &sum(false)?.to_le_bytes())?;
    put(&mut out, optional + 8, &sum(true)?.to_le_bytes())?;
    let image = end_of(&placed).next_multiple_of(u64::from(section_unit));
    put(&mut out, optional + 56, &fit(image, "the image")?.to_le_bytes())?;
    put(&mut out, optional + 60, &fit(headers_len as u64, "the headers")?.to_le_bytes())?;
    put(&mut out, optional + 64, &[0; 4])?;
    let own = usize::from(head.sections);
    let mut offset = headers_len as u64;
    let mut offsets = Vec::new();
    for (number, section) in placed.iter().enumerate() {
        let at = table + SECTION_LEN * number;
        put(&mut out, at, &section.name)?;
        if number >= own {
            offset = offset.next_multiple_of(UNIT.max(u64::from(file_unit)));
        }
        offsets.push(offset);
        let pointer = if section.raw_size == 0 { 0 } else { fit(offset, "the image")? };
        let fields = [section.virtual_size, section.address, section.raw_size, pointer];
        for (field, value) in fields.iter().enumerate() {
            put(&mut out, at + 8 + 4 * field, &value.to_le_bytes())?;
        }
        put(&mut out, at + 36, &section.flags.to_le_bytes())?;
        offset += u64::from(section.raw_size);
    }
    let mut file = Content::bytes(out);
    for (section, offset) in placed.into_iter().zip(offsets) {
        file.extend_to(offset);
        file.push(section.content);
        file.extend_to(offset + u64::from(section.raw_size));
    }
    Ok(file)
}

fn end_of(placed: &[Placed]) -> u64 {
    let ends = placed.iter().map(|s| u64::from(s.address) + u64::from(s.virtual_size));
    ends.max().unwrap_or_default()
}

fn own_sections(stub: &[u8], head: &Header) -> Result<Vec<Placed>> {
    let short = || broken("the boot stub", "its sections end behind it");
    let table = head.optional + head.optional_len;
    (0..usize::from(head.sections))
        .map(|number| {
            let at = table + SECTION_LEN * number;
            let field = |offset| u32_at(stub, at + offset).ok_or_else(short);
            let raw_size = field(16)?;
            let start = field(20)? as usize;
            let content = stub.get(start..start + raw_size as usize).ok_or_else(short)?;
            let name = stub.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(short)?;
            Ok(Placed {
                name: *name,
                virtual_size: field(8)?,
                address: field(12)?,
                raw_size,
                flags: field(36)?,
                content: Content::bytes(content),
            })
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest stub that has what the writer looks at: one section `.sdmagic`.
    pub(crate) fn stub(version: &str) -> Vec<u8> {
        let mut file = vec![0; 0x400];
        put(&mut file, 0, b"MZ").unwrap();
        put(&mut file, 0x3c, &0x40_u32.to_le_bytes()).unwrap();
        put(&mut file, 0x40, b"PE\0\0\x64\x86\x01\0").unwrap();
        put(&mut file, 0x54, &240_u16.to_le_bytes()).unwrap();
        let optional = 0x58;
        put(&mut file, optional, &0x20b_u16.to_le_bytes()).unwrap();
        put(&mut file, optional + 32, &0x1000_u32.to_le_bytes()).unwrap();
        put(&mut file, optional + 36, &0x200_u32.to_le_bytes()).unwrap();
        let section = optional + 240;
        put(&mut file, section, b".sdmagic").unwrap();
        let text = format!("#### LoaderInfo: systemd-stub {version} ####\0");
        for (at, value) in [
            (8, u32::try_from(text.len()).unwrap()),
            (12, 0x1000),
            (16, 0x200),
            (20, 0x200),
            (36, DATA),
        ] {
            put(&mut file, section + at, &value.to_le_bytes()).unwrap();
        }
        put(&mut file, 0x200, text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn sections_are_appended_in_order_and_found_again() {
        let text = |text: &str| Content::bytes(text.as_bytes());
        let added = [
            Section { name: ".osrel", content: text("ID=talos\n") },
            Section { name: ".cmdline", content: text("a=b") },
            Section { name: ".linux", content: Content::zeros(5000) },
            Section { name: ".cmdline", content: text("a=b wipe") },
        ];
        let file = uki(&stub("257.13"), &added, 0).unwrap();
        let found = sections(&file).unwrap();
        let names: Vec<&str> = found.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, [".sdmagic", ".osrel", ".cmdline", ".linux", ".cmdline"]);
        let bytes = file.read_all(1 << 20).unwrap();
        let last = found.last().unwrap();
        let at = usize::try_from(last.offset).unwrap();
        assert_eq!(bytes.get(at..at + 8), Some(b"a=b wipe".as_slice()));
        assert_eq!(last.len, 8);
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(boot_version(&bytes).unwrap().as_deref(), Some("257.13"));
        // Sections lie one behind another in memory, each at a page.
        assert_eq!(u32_at(&bytes, 0x98 + 56), Some(0x7000));
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        assert!(uki(b"MZ", &[], 0).is_err());
        assert!(uki(&[0; 4096], &[], 0).is_err());
        let mut symbols = stub("257");
        put(&mut symbols, 0x40 + 12, &[1]).unwrap();
        assert!(uki(&symbols, &[], 0).is_err());
        let mut outside = stub("257");
        outside.truncate(0x300);
        assert!(uki(&outside, &[], 0).is_err());
        assert!(sections(&Content::bytes(outside)).is_err());
        let long = Section { name: ".toolongname", content: Content::default() };
        assert!(uki(&stub("257"), &[long], 0).is_err());
    }
}
