//! Nodes of Proxmox that the tree names: that they are there, and where.

use std::net::IpAddr;

use proxmox_client::ClusterRow;

use super::crew::Crew;
use crate::error::Error;
use crate::spec::site::Site;

/// Refuses a tree that names nodes which Proxmox does not have.
pub(super) fn known(site: &Site, there: &[&str]) -> Result<(), Error> {
    let sdn = site.sdn.iter().flat_map(|sdn| {
        let primary = sdn.primary_exit_node.iter().map(|name| (name, "primary_exit_node"));
        let exits = sdn.exit_nodes.iter().map(|name| (name, "exit_nodes"));
        let all = sdn.nodes.iter().map(|name| (name, "nodes"));
        all.chain(exits).chain(primary).map(|(name, key)| (name, "common/0-sdn-setup", key))
    });
    let file = "common/proxmox-infrastructure.hcl";
    let named = site.proxmox.nodes.iter().map(|name| (name, file, "proxmox_nodes"));
    match named.chain(sdn).find(|(name, ..)| !there.contains(&name.as_str())) {
        Some((name, file, key)) => Err(Error::failed(format!("Proxmox has no node {name}"))
            .hint(format!("it has {}; see {key} in {file}", there.join(", ")))),
        None => Ok(()),
    }
}

/// The addresses of the nodes of a VXLAN zone: it has no controller that would know them.
pub(super) async fn peers(crew: &Crew) -> Result<Vec<IpAddr>, Error> {
    let Some(sdn) = crew.site.sdn.as_ref().filter(|sdn| sdn.controller.is_none()) else {
        return Ok(Vec::new());
    };
    let rows = crew.proxmox.cluster_status().await;
    let rows = rows
        .map_err(|error| Error::failed("read the addresses of the Proxmox nodes").because(error))?;
    let is_on = |row: &&ClusterRow| {
        row.kind == "node" && (sdn.nodes.is_empty() || sdn.nodes.contains(&row.name))
    };
    let of = |row: &ClusterRow| {
        row.ip.as_deref().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Error::failed(format!("Proxmox tells no address of its node {}", row.name)).hint(
                "a VXLAN zone needs the addresses of its nodes; or give the zone a `controller`",
            )
        })
    };
    rows.iter().filter(is_on).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::hcl::DecryptedText;
    use crate::spec::model::{LoadOptions, load};

    #[test]
    fn a_node_that_proxmox_does_not_have_is_told_with_the_key_that_names_it() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().unwrap();
        let options = LoadOptions {
            live: root.join("examples/homelab/live"),
            repo_root: root,
            lab: true,
            variables: std::collections::BTreeMap::new(),
            decrypt: Box::new(|_| Ok(DecryptedText::NoKey("no key".to_owned()))),
        };
        let mut site = load(options).site.unwrap();
        let there = ["pve01", "pve02", "pve03"];
        assert!(known(&site, &there).is_ok());
        let sdn = site.sdn.as_mut().unwrap();
        sdn.exit_nodes.push("pve09".to_owned());
        let error = known(&site, &there).unwrap_err();
        assert!(error.to_string().contains("Proxmox has no node pve09"), "{error}");
        assert!(error.hints().concat().contains("exit_nodes in common/0-sdn-setup"), "{error:?}");
        assert!(known(&site, &there[1..]).unwrap_err().hints().concat().contains("proxmox_nodes"));
    }
}
