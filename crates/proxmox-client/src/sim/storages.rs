//! Storages of a simulated cluster.

/// A storage definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimStorage {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) content: String,
    pub(crate) shared: bool,
    pub(crate) total: u64,
    pub(crate) extra: Vec<(String, String)>,
}

impl SimStorage {
    /// A directory on every node, each with files of its own.
    pub fn dir(id: impl Into<String>, content: impl Into<String>) -> Self {
        let id = id.into();
        let path = if id == "local" { "/var/lib/vz".to_owned() } else { format!("/mnt/pve/{id}") };
        Self {
            id,
            kind: "dir".to_owned(),
            content: content.into(),
            shared: false,
            total: 1 << 40,
            extra: vec![("path".to_owned(), path)],
        }
    }

    /// A `CephFS` that all nodes share: files.
    pub fn cephfs(id: impl Into<String>, content: impl Into<String>) -> Self {
        let id = id.into();
        let extra = vec![("path".to_owned(), format!("/mnt/pve/{id}"))];
        Self {
            id,
            kind: "cephfs".to_owned(),
            content: content.into(),
            shared: true,
            total: 8 << 40,
            extra,
        }
    }

    /// A Ceph pool that all nodes share: block devices.
    pub fn rbd(id: impl Into<String>, content: impl Into<String>) -> Self {
        let extra = vec![("pool".to_owned(), "vm".to_owned())];
        Self {
            id: id.into(),
            kind: "rbd".to_owned(),
            content: content.into(),
            shared: true,
            total: 8 << 40,
            extra,
        }
    }

    /// A ZFS pool on every node: block devices.
    pub fn zfspool(id: impl Into<String>, content: impl Into<String>) -> Self {
        let extra = vec![("pool".to_owned(), "rpool/data".to_owned())];
        Self {
            id: id.into(),
            kind: "zfspool".to_owned(),
            content: content.into(),
            shared: false,
            total: 2 << 40,
            extra,
        }
    }

    /// Size in bytes; uploads and allocations beyond it fail.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.total = bytes;
        self
    }

    /// Restricts the storage to these nodes.
    #[must_use]
    pub fn nodes<S: AsRef<str>>(mut self, nodes: impl IntoIterator<Item = S>) -> Self {
        let list: Vec<_> = nodes.into_iter().map(|node| node.as_ref().to_owned()).collect();
        self.extra.push(("nodes".to_owned(), list.join(",")));
        self
    }
}
