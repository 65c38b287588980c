//! Identifiers, parsed once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    what: &'static str,
    text: String,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.what)
    }
}

impl std::error::Error for IdError {}

/// A node's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(String);

impl NodeName {
    /// The name as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !fits {
            return Err(IdError { what: "the name of a node", text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The number of a virtual machine: 100 to 999999999.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(try_from = "u32", into = "u32")]
pub struct VmId(u32);

impl VmId {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<VmId> for u32 {
    fn from(id: VmId) -> Self {
        id.0
    }
}

impl TryFrom<u32> for VmId {
    type Error = IdError;

    fn try_from(number: u32) -> Result<Self, IdError> {
        if (100..=999_999_999).contains(&number) {
            return Ok(Self(number));
        }
        Err(IdError {
            what: "the number of a virtual machine (100 to 999999999)",
            text: number.to_string(),
        })
    }
}

/// A task's id: `UPID:node:pid:pstart:starttime:type:id:user:`, numbers in hex.
///
/// ```
/// use proxmox_client::Upid;
///
/// let upid: Upid = "UPID:pve01:000A1B2C:0123ABCD:68F0C1A2:qmstart:100:root@pam:".parse()?;
/// assert_eq!((upid.node(), upid.kind(), upid.id()), ("pve01", "qmstart", "100"));
/// # Ok::<(), proxmox_client::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upid {
    text: String,
    node: String,
    pid: u32,
    pstart: u64,
    starttime: u32,
    kind: String,
    id: String,
    user: String,
}

impl Upid {
    /// The id as the server wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The node that runs the task.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Process id of the worker.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the worker started, in jiffies since boot.
    pub fn pstart(&self) -> u64 {
        self.pstart
    }

    /// When the task started, in seconds since 1970.
    pub fn starttime(&self) -> u32 {
        self.starttime
    }

    /// What the task does, such as `qmstart`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it does it to, such as a VMID; may be empty.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who started it: a user or a token.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Upid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { what: "the id of a task", text: text.to_owned() };
        let parts: Vec<&str> = text.split(':').collect();
        let [mark, node, pid, pstart, start, kind, id, user, end] = parts.as_slice() else {
            return Err(wrong());
        };
        let hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| -> Option<u64> {
            let fits =
                lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(part, 16).ok().filter(|_| fits)
        };
        let node_fits = !node.is_empty()
            && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !node.starts_with('-')
            && !node.ends_with('-');
        let word = |part: &str| !part.contains(|c: char| c.is_whitespace() || c == '/');
        let fits = *mark == "UPID"
            && end.is_empty()
            && node_fits
            && !kind.is_empty()
            && !user.is_empty()
            && word(kind)
            && word(id)
            && word(user);
        if !fits {
            return Err(wrong());
        }
        let narrow = |number: u64| u32::try_from(number).ok();
        Ok(Self {
            text: text.to_owned(),
            node: (*node).to_owned(),
            pid: hex(pid, 8..=8).and_then(narrow).ok_or_else(wrong)?,
            pstart: hex(pstart, 8..=9).ok_or_else(wrong)?,
            starttime: hex(start, 8..=8).and_then(narrow).ok_or_else(wrong)?,
            kind: (*kind).to_owned(),
            id: (*id).to_owned(),
            user: (*user).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_task_may_be_about_nothing_but_ends_with_a_colon() {
        let good = "UPID:pve01:000A1B2C:0123ABCD:68F0C1A2:reloadnetworkall::root@pam:";
        assert_eq!(good.parse::<Upid>().unwrap().id(), "");
        for bad in [
            "UPID:pve01:A1B2C:0123ABCD:68F0C1A2:qmstart:100:root@pam:",
            "UPID:pve01:000A1B2C:0123ABCD:68F0C1A2:qmstart:100:root@pam",
            "UPID:-pve:000A1B2C:0123ABCD:68F0C1A2:qmstart:100:root@pam:",
            "",
        ] {
            assert!(bad.parse::<Upid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_numbers_have_limits() {
        for (text, fits) in
            [("pve01", true), ("p-1", true), ("", false), ("-p", false), ("a/b", false)]
        {
            assert_eq!(text.parse::<NodeName>().is_ok(), fits, "{text}");
        }
        for (number, fits) in
            [(99, false), (100, true), (999_999_999, true), (1_000_000_000, false)]
        {
            assert_eq!(VmId::try_from(number).is_ok(), fits, "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
            drop(text.parse::<Upid>());
        }
    }
}
