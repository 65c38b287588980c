//! A tree of files on its way into an image.

use std::collections::BTreeMap;

use super::format::Content;
use crate::error::{Error, ErrorKind, Result};

/// What a path is.
#[derive(Debug, Clone)]
pub enum Node {
    /// A folder.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// What is in it.
        content: Content,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

/// Most entries of a tree.
pub(crate) const MOST_ENTRIES: usize = 1_000_000;

/// Files, folders and links by path; every parent of an entry is a folder of the tree.
///
/// Paths have no leading slash and no part that is empty, `.` or `..`.
#[derive(Debug, Clone, Default)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// All entries; parents come before what is in them.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What a path is.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of a file, at most `most` bytes.
    ///
    /// # Errors
    /// It is longer, no file, or no UTF-8.
    pub fn text(&self, path: &str, most: u64) -> Result<Option<String>> {
        match self.0.get(path) {
            None => Ok(None),
            Some(Node::File { content, .. }) => {
                let text = String::from_utf8(content.read_all(most)?);
                text.map(Some).map_err(|_| wrong(path, "is no UTF-8"))
            }
            Some(_) => Err(wrong(path, "is no file")),
        }
    }

    /// Puts an entry in; a missing parent becomes a folder of mode 0755. A folder over a folder
    /// takes its mode, anything else over a file or link replaces it.
    ///
    /// # Errors
    /// The path is not clean, a parent is no folder, or a folder would be replaced.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        check_path(path)?;
        if self.0.len() >= MOST_ENTRIES {
            return Err(wrong(path, &format!("is one of more than {MOST_ENTRIES} entries")));
        }
        for (at, _) in path.match_indices('/') {
            let Some(parent) = path.get(..at) else { continue };
            match self.0.get(parent) {
                Some(Node::Directory { .. }) => {}
                Some(_) => {
                    return Err(wrong(path, &format!("lies in {parent}, which is no folder")));
                }
                None => {
                    self.0.insert(parent.to_owned(), Node::Directory { mode: 0o755 });
                }
            }
        }
        let folder = matches!(node, Node::Directory { .. });
        if !folder && matches!(self.0.get(path), Some(Node::Directory { .. })) {
            return Err(wrong(path, "is a folder and something else"));
        }
        self.0.insert(path.to_owned(), node);
        Ok(())
    }

    /// Takes an entry out, with everything in it.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(path);
        self.clear(path);
    }

    /// Takes everything out of a folder.
    pub fn clear(&mut self, folder: &str) {
        let prefix = format!("{folder}/");
        let inside: Vec<String> = self
            .0
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&prefix))
            .cloned()
            .collect();
        for path in inside {
            self.0.remove(&path);
        }
    }

    /// What lies in a folder, as a tree of its own.
    #[must_use]
    pub fn under(&self, folder: &str) -> Self {
        let prefix = format!("{folder}/");
        let inside = self.0.range(prefix.clone()..);
        let inside = inside.map_while(|(path, node)| {
            path.strip_prefix(&prefix).map(|rest| (rest.to_owned(), node.clone()))
        });
        Self(inside.collect())
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        let sizes = self.0.values().map(|node| match node {
            Node::File { content, .. } => content.len(),
            _ => 0,
        });
        sizes.sum()
    }
}

/// Whether a path can be one of a tree.
///
/// # Errors
/// It says why not.
pub(crate) fn check_path(path: &str) -> Result<()> {
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong(path, "leaves the image, or is not clean"));
    }
    if path.contains(|c: char| c.is_control()) {
        return Err(wrong(&path.escape_debug().to_string(), "has a control character"));
    }
    if path.len() > 4095 || path.split('/').any(|part| part.len() > 255) {
        return Err(wrong(path, "is longer than Linux allows"));
    }
    Ok(())
}

pub(crate) fn wrong(path: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{path}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node::File { mode: 0o644, content: Content::bytes(text.as_bytes()) }
    }

    #[test]
    fn paths_stay_inside_and_parents_are_folders() {
        let mut tree = Tree::default();
        tree.insert("a/b/c", file("x")).unwrap();
        tree.insert("a-b", file("y")).unwrap();
        assert_eq!(
            tree.nodes().map(|(path, _)| path).collect::<Vec<_>>(),
            ["a", "a-b", "a/b", "a/b/c"]
        );
        for path in ["", "/a", "..", "a/../b", "a//b", "./a", "a/b/c/d", "a\n"] {
            assert!(tree.insert(path, file("z")).is_err(), "{path:?}");
        }
        assert!(tree.insert("a/b", file("z")).is_err());
        assert_eq!(tree.under("a").nodes().map(|(path, _)| path).collect::<Vec<_>>(), ["b", "b/c"]);
        tree.remove("a");
        assert_eq!(tree.len(), 1);
    }
}
