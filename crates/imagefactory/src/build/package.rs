//! Debian packages: what they would install, without what they would run.

use std::path::{Path, PathBuf};

use super::limits;
use super::tree::{Node, Tree};
use super::unpack::{PackedLayer, Selection, unpack};
use crate::error::{Error, ErrorKind, Result, io};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// A package has three members, signed ones some more.
const MOST_MEMBERS: usize = 16;
/// Folders that became links below `usr`; packages of before still have files in them.
const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];
/// What no service reads; the texts of licences stay.
const NEEDLESS: [&str; 9] = [
    "usr/share/bug/",
    "usr/share/doc-base/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/bash-completion/",
    "usr/share/zsh/",
    "usr/lib/systemd/",
];
const DOCUMENTS: &str = "usr/share/doc/";

/// The files that packages would install under one root, whose contents lie in the folder `spool`.
///
/// Scripts of the packages are not run. What a later package has stands over what an earlier one
/// has. Folders that Debian has merged (`/bin`, `/lib` and so on) become links into `usr`.
///
/// # Errors
/// A file is no package, or holds what an extension cannot have.
pub(super) fn unpack_packages(packages: &[PathBuf], spool: &Path) -> Result<Tree> {
    let selection = Selection {
        wanted: &is_wanted,
        entries: limits::EXTENSION_ENTRIES,
        bytes: limits::EXTENSION_BYTES,
    };
    let mut tree = Tree::default();
    for (number, path) in packages.iter().enumerate() {
        let layer =
            PackedLayer { noun: "package", path, range: Some(data_of(path)?), diff_id: None };
        let found = unpack(&[layer], selection, &spool.join(number.to_string()))?.tree;
        for (path, node) in found.nodes() {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            match (MERGED.contains(&first), rest.is_empty()) {
                (false, _) => put(&mut tree, path, node)?,
                (true, true) => {}
                (true, false) => put(&mut tree, &format!("usr/{path}"), node)?,
            }
        }
    }
    // Programs name each other by both ways, and the loader is always asked for in /lib64.
    let merged = MERGED.into_iter().filter(|name| tree.get(&format!("usr/{name}")).is_some());
    for name in merged.collect::<Vec<_>>() {
        tree.insert(name, Node::Symlink { target: format!("usr/{name}") })?;
    }
    Ok(tree)
}

/// A package's link does not stand in the way of a folder of another one.
fn put(tree: &mut Tree, path: &str, node: &Node) -> Result<()> {
    let folder = matches!(tree.get(path), Some(Node::Directory { .. }));
    if folder && !matches!(node, Node::Directory { .. }) {
        return Ok(());
    }
    tree.insert(path, node.clone())
}

fn is_wanted(path: &str) -> bool {
    if let Some(document) = path.strip_prefix(DOCUMENTS) {
        return document.ends_with("/copyright");
    }
    // The folder itself says nothing without what is in it.
    path != "usr/share/doc"
        && !NEEDLESS
            .iter()
            .any(|front| path.starts_with(front) || front.trim_end_matches('/') == path)
}

/// Where in a package what it installs lies: offset and length.
fn data_of(path: &Path) -> Result<(u64, u64)> {
    use std::io::{Read as _, Seek as _, SeekFrom};

    let what = || format!("read {}", path.display());
    let broken = |why: &str| {
        let text = format!("{} is no Debian package: {why}", path.display());
        Error::new(ErrorKind::InvalidInput, text)
    };
    let mut file = std::fs::File::open(path).map_err(io(what()))?;
    let len = file.metadata().map_err(io(what()))?.len();
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(|_| broken("it is too short"))?;
    if magic != MAGIC {
        return Err(broken("it is no ar archive"));
    }
    let mut at = MAGIC.len() as u64;
    for number in 0..MOST_MEMBERS {
        file.seek(SeekFrom::Start(at)).map_err(io(what()))?;
        let mut header = [0; HEADER];
        if file.read_exact(&mut header).is_err() {
            break;
        }
        let field = |from: usize, to: usize| {
            header.get(from..to).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::trim)
        };
        let name = field(0, 16).map(|name| name.trim_end_matches('/'));
        let size = field(48, 58).and_then(|digits| digits.parse::<u64>().ok());
        let (Some(name), Some(size), Some("`")) = (name, size, field(58, 60)) else {
            return Err(broken("a header makes no sense"));
        };
        if number == 0 && name != "debian-binary" {
            return Err(broken("it does not begin with debian-binary"));
        }
        let from = at + HEADER as u64;
        if from + size > len {
            return Err(broken("it ends early"));
        }
        if name.starts_with("data.tar") {
            return Ok((from, size));
        }
        at = (from + size).next_multiple_of(2);
    }
    Err(broken("it has no data.tar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, content) in members {
            let header = format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100_644,
                content.len()
            );
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(content);
            if content.len() % 2 == 1 {
                out.push(b'\n');
            }
        }
        out
    }

    fn tar(files: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for path in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, &b"text"[..]).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn packages_give_one_root_with_merged_folders() {
        let dir = tempfile::tempdir().unwrap();
        let old = tar(&[
            "./lib/x86/libc.so",
            "./bin/sh",
            "./usr/share/man/man1/sh.1",
            "./usr/share/doc/dash/copyright",
        ]);
        let new =
            zstd::bulk::compress(&tar(&["./usr/lib/x86/libfrr.so", "./usr/share/doc/frr/NEWS"]), 3)
                .unwrap();
        let (one, two) = (dir.path().join("1.deb"), dir.path().join("2.deb"));
        let first: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        fs_err::write(&one, deb(&[first, ("control.tar.xz", b"odd"), ("data.tar", &old)])).unwrap();
        fs_err::write(&two, deb(&[first, ("data.tar.zst/", &new)])).unwrap();
        let tree = unpack_packages(&[one, two], dir.path()).unwrap();
        let paths: Vec<&str> = tree
            .nodes()
            .filter(|(_, node)| !matches!(node, Node::Directory { .. }))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(
            paths,
            [
                "bin",
                "lib",
                "usr/bin/sh",
                "usr/lib/x86/libc.so",
                "usr/lib/x86/libfrr.so",
                "usr/share/doc/dash/copyright"
            ]
        );
        assert!(matches!(tree.get("lib"), Some(Node::Symlink { target }) if target == "usr/lib"));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        let first: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        let mut short = deb(&[first, ("data.tar", &tar(&["./a"]))]);
        short.truncate(900);
        for (bytes, reason) in [
            (b"text".to_vec(), "too short"),
            (b"PK\x03\x04 and more".to_vec(), "no ar archive"),
            (deb(&[("data.tar", b"")]), "does not begin with debian-binary"),
            (deb(&[first, ("control.tar", b"x")]), "no data.tar"),
            (short, "ends early"),
        ] {
            fs_err::write(&path, &bytes).unwrap();
            let error = unpack_packages(std::slice::from_ref(&path), dir.path()).unwrap_err();
            assert!(error.to_string().contains(reason), "{reason}: {error}");
        }
    }
}
