//! tar within gzip, as the node sends files.

use std::io::Write as _;

/// One file or folder of an archive.
pub(super) struct Member<'a> {
    /// Name within the archive.
    pub(super) name: &'a str,
    /// Content; `None` is a folder.
    pub(super) data: Option<&'a [u8]>,
    /// Permissions.
    pub(super) mode: u32,
}

/// gzip of a tar of these; with `closed` the tar has its padding and its end.
pub(super) fn pack(members: &[Member<'_>], closed: bool) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for member in members {
        let data = member.data.unwrap_or_default();
        encoder.write_all(&header(member, data.len())).ok();
        encoder.write_all(data).ok();
        if closed {
            let rest = data.len().next_multiple_of(512) - data.len();
            encoder.write_all(&vec![0; rest]).ok();
        }
    }
    if closed {
        encoder.write_all(&[0; 1024]).ok();
    }
    encoder.finish().unwrap_or_default()
}

fn header(member: &Member<'_>, size: usize) -> [u8; 512] {
    let mut out = [0u8; 512];
    let (size, mode) = (format!("{size:011o}\0"), format!("{:07o}\0", member.mode));
    let kind: &[u8] = if member.data.is_some() { b"0" } else { b"5" };
    let fields: [(usize, &[u8]); 9] = [
        (0, member.name.as_bytes()),
        (100, mode.as_bytes()),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size.as_bytes()),
        (136, b"00000000000\0"),
        (148, b"        "),
        (156, kind),
        (257, b"ustar\x0000"),
    ];
    for (at, bytes) in fields {
        put(&mut out, at, bytes);
    }
    let sum: u32 = out.iter().map(|b| u32::from(*b)).sum();
    put(&mut out, 148, format!("{sum:06o}\0 ").as_bytes());
    out
}

fn put(header: &mut [u8; 512], at: usize, bytes: &[u8]) {
    for (cell, byte) in header.iter_mut().skip(at).zip(bytes) {
        *cell = *byte;
    }
}
