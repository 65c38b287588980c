//! Records of directories, with the names and modes of Rock Ridge.

use super::super::raw::{broken, fit, put};
use super::Extent;
use super::date::Date;
use super::folder::{Body, Listed};
use crate::error::Result;

pub(super) fn len8(len: usize) -> Result<u8> {
    u8::try_from(len).map_err(|_| broken("the ISO", "a name is too long"))
}

pub(super) fn even(len: usize) -> usize {
    len.next_multiple_of(2)
}

/// The records of a folder: itself, its parent, its children.
pub(super) fn records(
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
pub(super) fn packed(records: &[Vec<u8>]) -> Vec<u8> {
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

pub(super) fn both32(value: u32) -> [u8; 8] {
    let mut out = [0; 8];
    let bytes = value.to_le_bytes().into_iter().chain(value.to_be_bytes());
    out.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    out
}

pub(super) fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// A record of a directory, with its fields of Rock Ridge.
pub(super) fn record(
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
