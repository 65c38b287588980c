//! Snapshots of etcd: a database file in pages, with the digest of all of them at its end.
//!
//! The file is one that etcd's own tools read: two meta pages, an empty free list, and a tree of buckets of which
//! `key` holds what Kubernetes keeps, by revision.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

const PAGE: usize = 4096;
/// Length of the head of a page, and of an element of a leaf.
const HEAD: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const FREE: u16 = 16;
const MAGIC: u32 = 0xed0c_daed;
/// Prefix of the keys of Kubernetes.
const REGISTRY: &str = "/registry";
/// How much of an upload is kept to be read; objects that lie behind it are lost.
const KEPT: usize = 64 << 20;

/// A snapshot as it is sent: what is kept of it, zeros that stand for the rest, and the digest.
#[derive(Debug)]
pub(crate) struct Snapshot {
    head: Vec<u8>,
    zeros: u64,
    digest: Sha256,
    at: u64,
    ended: bool,
}

impl Snapshot {
    /// A database of these objects, and of so many bytes more.
    pub(crate) fn of(objects: &BTreeMap<String, Value>, revision: u64, filler: u64) -> Self {
        let (head, zeros) = database(objects, revision, filler);
        Self { head, zeros, digest: Sha256::new(), at: 0, ended: false }
    }

    /// The next piece, not longer than etcd sends them.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        const PIECE: u64 = 32 << 10;
        let total = self.head.len() as u64 + self.zeros;
        if self.ended {
            return None;
        }
        let size = PIECE.min(total - self.at);
        let start = usize::try_from(self.at).unwrap_or(usize::MAX);
        let mut piece = vec![0; usize::try_from(size).unwrap_or(0)];
        for (cell, byte) in piece.iter_mut().zip(self.head.get(start..).unwrap_or_default()) {
            *cell = *byte;
        }
        self.digest.update(&piece);
        self.at += size;
        if self.at >= total {
            self.ended = true;
            piece.extend(self.digest.clone().finalize());
        }
        Some(piece)
    }
}

/// An uploaded snapshot: its beginning, and whether its digest is right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    head: Vec<u8>,
    tail: Vec<u8>,
    digest: Sha256,
    length: u64,
}

impl Upload {
    /// Takes the next piece; however long the whole is, little of it is kept.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.tail.extend_from_slice(piece);
        let sure = self.tail.len().saturating_sub(32);
        let body: Vec<u8> = self.tail.drain(..sure).collect();
        self.digest.update(&body);
        let room = KEPT.saturating_sub(self.head.len());
        self.head.extend_from_slice(body.get(..room.min(body.len())).unwrap_or_default());
    }

    /// Whether what was uploaded is what was saved.
    ///
    /// # Errors
    /// What is wrong with it, as the node tells it.
    pub(crate) fn check(&self, skip_digest: bool) -> Result<(), String> {
        let right = self.tail.as_slice() == self.digest.clone().finalize().as_slice();
        if self.length < 2 * PAGE as u64 || u32_at(&self.head, HEAD) != Some(MAGIC) {
            return Err("invalid database".into());
        }
        if !right && !skip_digest {
            return Err("snapshot hash mismatch".into());
        }
        Ok(())
    }

    /// The objects of Kubernetes in it, as far as they are those of a simulated cluster.
    pub(crate) fn objects(&self) -> BTreeMap<String, Value> {
        let mut out = BTreeMap::new();
        let root = u64_at(&self.head, 2 * HEAD).unwrap_or(0);
        let mut buckets = Vec::new();
        walk(&self.head, root, 0, &mut buckets);
        let keys = buckets.iter().find(|(name, _)| name == b"key");
        let Some(root) = keys.and_then(|(_, value)| u64_at(value, 0)) else { return out };
        let mut rows = Vec::new();
        walk(&self.head, root, 0, &mut rows);
        for (_, value) in rows {
            let Some((key, content)) = key_value(&value) else { continue };
            let Some(path) = key.strip_prefix(REGISTRY) else { continue };
            match serde_json::from_slice(&content) {
                Ok(object) => drop(out.insert(path.to_owned(), object)),
                // Nothing in it: it was deleted.
                Err(_) if content.is_empty() => drop(out.remove(path)),
                Err(_) => {}
            }
        }
        out
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn database(objects: &BTreeMap<String, Value>, revision: u64, filler: u64) -> (Vec<u8>, u64) {
    let first = revision.saturating_sub(objects.len() as u64).max(1);
    let mut rows: Rows = Vec::new();
    for (revision, (path, object)) in (first..).zip(objects) {
        let content = serde_json::to_vec(object).unwrap_or_default();
        rows.push(row(revision, &format!("{REGISTRY}{path}"), &content));
    }
    let meta: Rows = vec![
        (b"consistent_index".to_vec(), revision.to_be_bytes().to_vec()),
        (b"storageVersion".to_vec(), b"3.6.0".to_vec()),
        (b"term".to_vec(), 2u64.to_be_bytes().to_vec()),
    ];
    // The filler is the end of the last value, so that it needs not be held anywhere.
    let zeros = if filler == 0 { 0 } else { filler.next_multiple_of(PAGE as u64) };
    if zeros > 0 {
        rows.push(row(first + objects.len() as u64, "/filler", b""));
    }
    let (meta_page, key_page) = (4, 5);
    let mut keys = leaf(key_page, 0, &rows, zeros);
    if zeros == 0 {
        fill(&mut keys);
    } else {
        // The value ends where the filler ends: at the end of a page.
        let short = keys.len().next_multiple_of(PAGE) - keys.len();
        let end = HEAD * rows.len();
        let size = u32_at(&keys, end + 12).unwrap_or(0) + u32::try_from(short).unwrap_or(0);
        set(&mut keys, end + 12, &size.to_le_bytes());
        fill(&mut keys);
    }
    let pages = |bytes: u64| bytes / PAGE as u64;
    let own = pages(keys.len() as u64 + zeros).max(1);
    set(&mut keys, 12, &u32::try_from(own - 1).unwrap_or(u32::MAX).to_le_bytes());
    let bucket = |root: u64| [root.to_le_bytes(), [0; 8]].concat();
    let root: Rows =
        vec![(b"key".to_vec(), bucket(key_page)), (b"meta".to_vec(), bucket(meta_page))];
    let mut out = Vec::new();
    for at in 0..2 {
        out.extend(meta_of(at, 3, 2, key_page + own));
    }
    let mut free = head(2, FREE, 0);
    fill(&mut free);
    out.extend(free);
    for (id, flags, rows) in [(3, 1, &root), (meta_page, 0, &meta)] {
        let mut page = leaf(id, flags, rows, 0);
        fill(&mut page);
        out.extend(page);
    }
    out.extend(keys);
    (out, zeros)
}

/// A row of the bucket of keys: its revision, and what was written then.
fn row(revision: u64, key: &str, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let name = [&revision.to_be_bytes()[..], b"_", &[0; 8]].concat();
    let mut value = Vec::new();
    let mut bytes = |number: u8, data: &[u8]| {
        value.push(number << 3 | 2);
        varint(data.len() as u64, &mut value);
        value.extend_from_slice(data);
    };
    bytes(1, key.as_bytes());
    bytes(5, content);
    for number in [2u8, 3] {
        value.push(number << 3);
        varint(revision, &mut value);
    }
    value.extend([4 << 3, 1]);
    (name, value)
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn head(id: u64, flags: u16, count: usize) -> Vec<u8> {
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    [&id.to_le_bytes()[..], &flags.to_le_bytes(), &count.to_le_bytes(), &[0; 4]].concat()
}

/// A leaf with these rows; the last value is longer by so many bytes that come later.
fn leaf(id: u64, flags: u32, rows: &Rows, longer: u64) -> Vec<u8> {
    let mut out = head(id, LEAF, rows.len());
    let mut data = Vec::new();
    for (at, (key, value)) in rows.iter().enumerate() {
        let place = (rows.len() - at) * HEAD + data.len();
        let more = if at + 1 == rows.len() { longer } else { 0 };
        let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        out.extend(flags.to_le_bytes());
        out.extend(size(place as u64));
        out.extend(size(key.len() as u64));
        out.extend(size(value.len() as u64 + more));
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    out.extend(data);
    out
}

fn meta_of(at: u64, root: u64, free: u64, end: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [MAGIC, 2, 4096, 0] {
        body.extend(number.to_le_bytes());
    }
    for number in [root, 0, free, end, at + 1] {
        body.extend(number.to_le_bytes());
    }
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut page = head(at, META, 0);
    page.extend(body);
    page.extend(sum.to_le_bytes());
    fill(&mut page);
    page
}

fn fill(page: &mut Vec<u8>) {
    page.resize(page.len().next_multiple_of(PAGE), 0);
}

fn set(page: &mut [u8], at: usize, bytes: &[u8]) {
    for (cell, byte) in page.iter_mut().skip(at).zip(bytes) {
        *cell = *byte;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// All rows of a tree of pages.
fn walk(file: &[u8], page: u64, depth: usize, out: &mut Rows) {
    let Some(start) = usize::try_from(page).ok().and_then(|p| p.checked_mul(PAGE)) else { return };
    let Some(page) = file.get(start..).filter(|_| depth < 16) else { return };
    let (Some(kind), Some(count)) = (u32_at(page, 8), u32_at(page, 8)) else { return };
    let (kind, count) = (kind & 0xffff, count >> 16);
    for at in (0..usize::try_from(count).unwrap_or(0)).map(|at| HEAD + at * HEAD) {
        let number = |offset| u32_at(page, at + offset).and_then(|n| usize::try_from(n).ok());
        if kind == u32::from(BRANCH) {
            let Some(child) = u64_at(page, at + 8) else { return };
            walk(file, child, depth + 1, out);
            continue;
        }
        let (Some(place), Some(key), Some(value)) = (number(4), number(8), number(12)) else {
            return;
        };
        let begin = at + place;
        let (Some(key), Some(value)) =
            (page.get(begin..begin + key), page.get(begin + key..begin + key + value))
        else {
            continue;
        };
        out.push((key.to_vec(), value.to_vec()));
    }
}

/// Key and content of a row.
fn key_value(mut bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let (mut key, mut content) = (String::new(), Vec::new());
    while let Some((tag, rest)) = bytes.split_first() {
        let (number, rest) = read_varint(rest)?;
        bytes = rest;
        if tag & 7 == 2 {
            let (data, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            match tag >> 3 {
                1 => key = String::from_utf8(data.to_vec()).ok()?,
                5 => content = data.to_vec(),
                _ => {}
            }
            bytes = rest;
        }
    }
    Some((key, content))
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut out = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        out |= u64::from(byte & 0x7f).checked_shl(u32::try_from(at * 7).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((out, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> BTreeMap<String, Value> {
        let pod = |n: usize| json!({"kind": "Pod", "n": n, "text": "x".repeat(900)});
        (0..40).map(|n| (format!("/api/v1/namespaces/a/pods/p{n}"), pod(n))).collect()
    }

    fn uploaded(mut snapshot: Snapshot, spoil: bool) -> Upload {
        let mut out = Upload::default();
        while let Some(mut piece) = snapshot.next() {
            if spoil && out.length == 0 {
                piece[PAGE * 4 + 200] ^= 1;
            }
            piece.chunks(4096).for_each(|p| out.push(p));
        }
        out
    }

    #[test]
    fn what_was_saved_is_read_again() {
        for filler in [0, 3 << 20] {
            let upload = uploaded(Snapshot::of(&objects(), 100, filler), false);
            assert_eq!(upload.check(false), Ok(()));
            assert_eq!(upload.length % 512, 32);
            assert!(upload.length > filler);
            assert_eq!(upload.objects(), objects());
        }
    }

    #[test]
    fn a_spoiled_snapshot_is_refused_unless_asked_for() {
        let upload = uploaded(Snapshot::of(&objects(), 100, 0), true);
        assert_eq!(upload.check(false), Err("snapshot hash mismatch".into()));
        assert_eq!(upload.check(true), Ok(()));
        let mut other = Upload::default();
        other.push(b"no database");
        assert_eq!(other.check(true), Err("invalid database".into()));
    }
}
