//! Lab ISOs: files that stand for an ISO in a lab and boot nowhere else.
//!
//! A real ISO 9660 image has its volume descriptors at byte 32768. A lab ISO has a mark there,
//! followed by one line of JSON `{talos, schematic, platform, architecture}`; the rest is
//! deterministic filler, so that digests and ranges mean something.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Where the mark stands.
pub const MARK_OFFSET: u64 = 32768;

/// The mark; the JSON follows it at once.
pub const MARK: &[u8] = b"LAB IMAGE, BOOTS NOWHERE ELSE\n";

/// What a lab ISO stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabMark {
    /// The version of Talos, with its `v`.
    pub talos: String,
    /// The id of the schematic.
    pub schematic: String,
    /// The platform that it boots as.
    pub platform: String,
    /// Its architecture.
    pub architecture: String,
}

/// Reads the mark of an ISO from its first bytes (2048 bytes beyond [`MARK_OFFSET`] suffice).
///
/// `None`: it is no lab ISO, and nothing in a lab boots from it.
///
/// ```
/// use imagefactory::sim::lab_iso::{LabMark, read_mark, render};
///
/// let mark = LabMark {
///     talos: "v1.11.5".into(),
///     schematic: "37".into(),
///     platform: "nocloud".into(),
///     architecture: "amd64".into(),
/// };
/// let bytes = render(&mark, 65536);
/// assert_eq!(read_mark(&bytes), Some(mark));
/// assert_eq!(read_mark(&[0; 65536]), None);
/// ```
pub fn read_mark(bytes: &[u8]) -> Option<LabMark> {
    let from = usize::try_from(MARK_OFFSET).ok()?;
    let sector = bytes.get(from..)?;
    if sector.starts_with(b"\x01CD001") {
        return read_built(sector);
    }
    let rest = sector.strip_prefix(MARK)?;
    let line = rest.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line.get(..line.len().min(2048))?).ok()
}

/// What an ISO that was built tells of itself in the room that its volume descriptor leaves for
/// applications (ECMA-119 8.4.32): nothing of it is started in a lab.
fn read_built(sector: &[u8]) -> Option<LabMark> {
    #[derive(Deserialize)]
    struct Identity {
        talos: String,
        schematic: Option<String>,
        platform: String,
        architecture: String,
    }
    let room = sector.get(883..1395)?;
    let text = room.split(|byte| *byte == 0).next()?;
    let found: Identity = serde_json::from_slice(text).ok()?;
    Some(LabMark {
        talos: found.talos,
        schematic: found.schematic.unwrap_or_default(),
        platform: found.platform,
        architecture: found.architecture,
    })
}

/// Reads the mark of an ISO on disk.
///
/// # Errors
/// The file cannot be read.
pub fn read_mark_of(path: &std::path::Path) -> std::io::Result<Option<LabMark>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MARK_OFFSET + 4096).read_to_end(&mut bytes)?;
    Ok(read_mark(&bytes))
}

/// A whole lab ISO of a size.
pub fn render(mark: &LabMark, size: u64) -> Vec<u8> {
    LabIso::new(mark, size).part(0, size).to_vec()
}

/// A lab ISO whose parts are made when they are asked for.
#[derive(Debug, Clone)]
pub(super) struct LabIso {
    head: Bytes,
    seed: u64,
    size: u64,
}

impl LabIso {
    pub(super) fn new(mark: &LabMark, size: u64) -> Self {
        let mut head =
            b"This is a synthetic image for labs and tests. It is not bootable.\n".to_vec();
        head.resize(usize::try_from(MARK_OFFSET).unwrap_or(32768), 0);
        head.extend_from_slice(MARK);
        head.extend(serde_json::to_vec(mark).unwrap_or_default());
        head.push(b'\n');
        head.resize(head.len().next_multiple_of(2048), 0);
        let digest = Digest::of(&head).hex();
        let seed = digest.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok());
        Self { head: head.into(), seed: seed.unwrap_or(1), size }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// A strong tag of its content.
    pub(super) fn tag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.seed, self.size)
    }

    /// Some of its bytes.
    pub(super) fn part(&self, from: u64, length: u64) -> Bytes {
        let end = self.size.min(from.saturating_add(length));
        (from..end).map(|at| self.byte(at)).collect::<Vec<u8>>().into()
    }

    fn byte(&self, at: u64) -> u8 {
        let head = usize::try_from(at).ok().and_then(|at| self.head.get(at));
        if let Some(byte) = head {
            return *byte;
        }
        // Eight bytes of filler from each position, well mixed.
        let mut word = self.seed ^ (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word ^= word >> 27;
        word.to_le_bytes().get(usize::try_from(at % 8).unwrap_or(0)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_whole_and_every_field_changes_it() {
        let mark = |platform: &str| LabMark {
            talos: "v1.12.0".to_owned(),
            schematic: "ab".to_owned(),
            platform: platform.to_owned(),
            architecture: "arm64".to_owned(),
        };
        let iso = LabIso::new(&mark("metal"), 70_000);
        let whole = render(&mark("metal"), 70_000);
        for (from, length) in [(0, 10), (32_760, 100), (34_811, 13), (69_990, 100), (80_000, 1)] {
            let from_index = usize::try_from(from).unwrap_or(0).min(whole.len());
            let end = (from_index + usize::try_from(length).unwrap_or(0)).min(whole.len());
            assert_eq!(Some(&*iso.part(from, length)), whole.get(from_index..end));
        }
        let other = LabIso::new(&mark("nocloud"), 70_000);
        assert_ne!(iso.tag(), other.tag());
        assert_ne!(iso.part(40_000, 64), other.part(40_000, 64));
    }
}
