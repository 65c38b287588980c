//! What is written down of a cluster before a node of it is configured for the first time, and is
//! taken back where every node refused that: a cluster without a configured node binds the tree to
//! nothing.

use std::collections::BTreeMap;

use crate::state::{ClusterPin, LockFile};

/// Clusters whose nodes are being configured by this run, by name.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<String, Claim>);

#[derive(Debug)]
struct Claim {
    /// What was written down before the first of them.
    before: Option<ClusterPin>,
    /// How many nodes are on their way, took it, or may have.
    nodes: usize,
    /// How many of them are given the image that installs Cilium.
    images: usize,
}

impl Claims {
    /// A node is about to be sent its configuration; called before that is written down.
    pub(super) fn begin(&mut self, lock: &LockFile, cluster: &str, has_image: bool) {
        let claim = self.0.entry(cluster.to_owned()).or_insert_with(|| Claim {
            before: lock.clusters.get(cluster).cloned(),
            nodes: 0,
            images: 0,
        });
        claim.nodes += 1;
        claim.images += usize::from(has_image);
    }

    /// The node refused it. What no other node may have is taken back: the image, or all of it. That
    /// etcd was seen to run stays.
    pub(super) fn refused(&mut self, lock: &mut LockFile, cluster: &str, has_image: bool) {
        let Some(claim) = self.0.get_mut(cluster) else { return };
        claim.nodes = claim.nodes.saturating_sub(1);
        claim.images = claim.images.saturating_sub(usize::from(has_image));
        if let Some(pin) = lock.clusters.remove(cluster)
            && let Some(left) = claim.left(pin, has_image)
        {
            lock.clusters.insert(cluster.to_owned(), left);
        }
        if claim.nodes == 0 {
            self.0.remove(cluster);
        }
    }
}

impl Claim {
    /// What stays written down.
    fn left(&self, pin: ClusterPin, has_image: bool) -> Option<ClusterPin> {
        let before = self.before.as_ref();
        if self.nodes > 0 {
            let is_given = self.images > 0 || !has_image;
            let image = before.and_then(|before| before.cilium_cli_image.clone());
            return Some(match is_given {
                true => pin,
                false => ClusterPin { cilium_cli_image: image, ..pin },
            });
        }
        match before {
            Some(before) => Some(ClusterPin { etcd_started: pin.etcd_started, ..before.clone() }),
            None => pin.etcd_started.then_some(pin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(version: &str, image: Option<&str>) -> ClusterPin {
        ClusterPin {
            cluster_id: 101,
            talos_version: version.to_owned(),
            kubernetes_version: "v1.31.4".to_owned(),
            etcd_started: false,
            cilium_cli_image: image.map(str::to_owned),
        }
    }

    fn write(lock: &mut LockFile, pin: ClusterPin) {
        lock.clusters.insert("sol".to_owned(), pin);
    }

    #[test]
    fn what_every_node_refused_was_never_written_down() {
        let (mut claims, mut lock) = (Claims::default(), LockFile::default());
        for has_image in [true, false] {
            claims.begin(&lock, "sol", has_image);
            write(&mut lock, pin("v1.11.5", Some("cli:v1")));
        }
        claims.refused(&mut lock, "sol", true);
        // The worker may take it: the cluster is made then, and no control plane has an image.
        assert_eq!(lock.clusters["sol"], pin("v1.11.5", None));
        claims.refused(&mut lock, "sol", false);
        assert!(lock.clusters.is_empty());
        // The next try begins anew.
        claims.begin(&lock, "sol", true);
        write(&mut lock, pin("v1.11.5", Some("cli:v2")));
        claims.refused(&mut lock, "sol", true);
        assert!(lock.clusters.is_empty());
    }

    #[test]
    fn what_a_node_took_or_may_have_taken_stays() {
        let (mut claims, mut lock) = (Claims::default(), LockFile::default());
        for _ in 0..2 {
            claims.begin(&lock, "sol", true);
            write(&mut lock, pin("v1.11.5", Some("cli:v1")));
        }
        claims.refused(&mut lock, "sol", true);
        assert_eq!(lock.clusters["sol"], pin("v1.11.5", Some("cli:v1")));
    }

    #[test]
    fn what_was_written_down_before_is_there_again() {
        let (mut claims, mut lock) = (Claims::default(), LockFile::default());
        write(&mut lock, pin("v1.11.5", None));
        claims.begin(&lock, "sol", true);
        let later = ClusterPin { etcd_started: true, ..pin("v1.12.0", Some("cli:v2")) };
        write(&mut lock, later);
        claims.refused(&mut lock, "sol", true);
        let expected = ClusterPin { etcd_started: true, ..pin("v1.11.5", None) };
        assert_eq!(lock.clusters["sol"], expected);
    }
}
