//! cpio archives of the format "newc", as the kernel reads them (initramfs buffer format).

use super::content::Content;
use super::raw::{broken, fit};
use crate::error::Result;

/// A file or folder of an archive.
#[derive(Debug, Clone)]
pub struct CpioEntry {
    /// Path without a leading slash.
    pub path: String,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Content; empty for a folder.
    pub content: Content,
}

const DIRECTORY: u32 = 0o040_000;
const KIND: u32 = 0o170_000;

/// An archive: parents before their children, siblings by name; owner root, no times.
///
/// # Errors
/// Two entries have one path, a path is not clean, or content is 4 GiB or more.
pub fn newc(mut entries: Vec<CpioEntry>) -> Result<Content> {
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let mut archive = Content::default();
    let mut before: Option<&str> = None;
    for (number, entry) in entries.iter().enumerate() {
        let clean = !entry.path.is_empty()
            && !entry.path.contains('\0')
            && entry.path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !clean || before == Some(&entry.path) {
            return Err(broken("cpio", &format!("{:?} cannot be an entry here", entry.path)));
        }
        before = Some(&entry.path);
        let links = if entry.mode & KIND == DIRECTORY { 2 } else { 1 };
        let number = fit(number as u64, "the count of entries")?;
        put(&mut archive, (number, links), entry)?;
    }
    let path = "TRAILER!!!".to_owned();
    put(&mut archive, (0, 1), &CpioEntry { path, mode: 0, content: Content::default() })?;
    archive.align(512);
    Ok(archive)
}

fn put(archive: &mut Content, (number, links): (u32, u32), entry: &CpioEntry) -> Result<()> {
    let CpioEntry { path, mode, content } = entry;
    let size = fit(content.len(), path)?;
    let name = fit(path.len() as u64 + 1, "a path")?;
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let fields = [number, *mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0];
    let mut header = String::from("070701");
    for field in fields {
        use std::fmt::Write as _;
        let _infallible = write!(header, "{field:08X}");
    }
    header.push_str(path);
    header.push('\0');
    archive.push(Content::bytes(header.into_bytes()));
    archive.align(4);
    archive.push(content.clone());
    archive.align(4);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, mode: u32, text: &str) -> CpioEntry {
        CpioEntry { path: path.to_owned(), mode, content: Content::bytes(text.as_bytes()) }
    }

    #[test]
    fn an_archive_is_as_the_format_says() {
        let entries = vec![
            entry("a-b", 0o100_644, "hello"),
            entry("a", 0o040_755, ""),
            entry("a/c", 0o100_600, "x"),
        ];
        let bytes = newc(entries).unwrap().read_all(4096).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let text = String::from_utf8(bytes).unwrap();
        let first = "07070100000000000041ED000000000000000000000002000000000000000000000000\
                     00000000000000000000000000000002000000a\0";
        assert!(text.starts_with("070701"), "{text}");
        assert!(text.starts_with(first.get(..14).unwrap()));
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("a\0") < at("a/c\0") && at("a/c\0") < at("a-b\0"));
        assert!(at("hello") % 4 == 0 && text.contains("TRAILER!!!\0"));
    }

    #[test]
    fn paths_that_leave_or_repeat_are_refused() {
        for path in ["", "/a", "a/../b", "./a", "a//b"] {
            assert!(newc(vec![entry(path, 0o100_644, "")]).is_err(), "{path}");
        }
        let twice = vec![entry("a", 0o100_644, ""), entry("a", 0o100_644, "")];
        assert!(newc(twice).is_err());
    }
}
