//! Folders of an ISO: their order, the names that the standard allows, the path tables.

use std::collections::{BTreeMap, BTreeSet};

use super::super::raw::broken;
use super::record::{even, len8};
use super::{Extent, IsoEntry};
use crate::error::Result;

#[derive(Default)]
struct Folder {
    folders: BTreeMap<String, Self>,
    files: BTreeMap<String, IsoEntry>,
}

/// A folder or file with its identifier, in the order of the standard.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) identifier: Vec<u8>,
    pub(super) body: Body,
}

/// What a name stands for.
pub(super) enum Body {
    /// Number of the folder in the list of folders.
    Folder(usize),
    /// Path.
    File(String),
}

/// A folder in the order of path tables.
pub(super) struct Listed {
    /// Number of the folder that it is in.
    pub(super) parent: usize,
    pub(super) identifier: Vec<u8>,
    pub(super) children: Vec<Node>,
}

/// All folders, parents first, those of one depth together, as path tables want them.
pub(super) fn list(files: &BTreeMap<String, IsoEntry>) -> Result<Vec<Listed>> {
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

/// How long a path table is, in bytes.
pub(super) fn table_len(folders: &[Listed]) -> u64 {
    folders.iter().map(|folder| 8 + even(folder.identifier.len())).sum::<usize>() as u64
}

/// The path table: where each folder is, in one of the two orders of bytes.
pub(super) fn table(folders: &[Listed], places: &[Extent], big: bool) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (folder, place) in folders.iter().zip(places) {
        let parent = u16::try_from(folder.parent + 1)
            .map_err(|_| broken("the ISO", "it has too many folders"))?;
        out.push(len8(folder.identifier.len())?);
        out.push(0);
        match big {
            false => {
                out.extend(place.sector.to_le_bytes());
                out.extend(parent.to_le_bytes());
            }
            true => {
                out.extend(place.sector.to_be_bytes());
                out.extend(parent.to_be_bytes());
            }
        }
        out.extend(&folder.identifier);
        out.resize(even(out.len()), 0);
    }
    Ok(out)
}
