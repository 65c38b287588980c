//! The inventory in every form.

use std::fmt::Write as _;

use super::table::table;
use crate::cli::args::OutputForm;
use crate::ops::{Error, ErrorKind};
use crate::spec::site::{Node, Role, Site};

/// The inventory as text.
///
/// # Errors
/// It cannot be printed in this form.
pub fn text(site: &Site, form: OutputForm) -> Result<String, Error> {
    let nodes = || {
        site.clusters
            .iter()
            .flat_map(|cluster| cluster.nodes.iter().map(move |node| (cluster, node)))
    };
    Ok(match form {
        OutputForm::Json => {
            let text = serde_json::to_string_pretty(site)
                .map_err(|error| Error::new(ErrorKind::Bug, "print JSON").because(error))?;
            text + "\n"
        }
        OutputForm::Yaml => serde_saphyr::to_string(site)
            .map_err(|error| Error::new(ErrorKind::Bug, "print YAML").because(error))?,
        OutputForm::Name => nodes().map(|(_, node)| node.name.clone() + "\n").collect(),
        OutputForm::Table => table(
            ["CLUSTER", "NODE", "ROLE", "VMID", "PROXMOX", "IPV6", "IPV4"],
            nodes().map(|(cluster, node)| {
                [
                    cluster.name.clone(),
                    node.name.clone(),
                    role(node).to_owned(),
                    node.vmid.to_string(),
                    node.proxmox_node.clone(),
                    shown(node.ipv6.map(|net| net.addr())),
                    shown(node.ipv4.map(|net| net.addr())),
                ]
            }),
        ),
        OutputForm::Wide => table(
            [
                "CLUSTER", "NODE", "ROLE", "VMID", "PROXMOX", "CORES", "MIB", "GIB", "MAC", "UUID",
                "IPV6", "IPV4", "ASN",
            ],
            nodes().map(|(cluster, node)| {
                [
                    cluster.name.clone(),
                    node.name.clone(),
                    role(node).to_owned(),
                    node.vmid.to_string(),
                    node.proxmox_node.clone(),
                    node.cores.to_string(),
                    node.memory_mib.to_string(),
                    node.disk_gib.to_string(),
                    node.mac.clone(),
                    node.uuid.to_string(),
                    shown(node.ipv6),
                    shown(node.ipv4),
                    node.asn.to_string(),
                ]
            }),
        ),
        OutputForm::Markdown => markdown(site),
    })
}

fn role(node: &Node) -> &'static str {
    match node.role {
        Role::ControlPlane => "controlplane",
        Role::Worker => "worker",
    }
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn markdown(site: &Site) -> String {
    let mut out = format!("# {}\n", site.name);
    for cluster in &site.clusters {
        let _ = write!(
            out,
            "\n## {} ({})\n\n- endpoint: {}\n- virtual addresses: {}\n- pods: {}\n- services: {}\n\
             - load balancers: {}\n- segment: {}\n\n\
             | node | role | VMID | Proxmox | IPv6 | IPv4 | MAC |\n|---|---|---|---|---|---|---|\n",
            cluster.name,
            cluster.id,
            cluster.endpoint,
            list(&cluster.vips),
            list(&cluster.pod_subnets),
            list(&cluster.service_subnets),
            list(&cluster.load_balancer_subnets),
            cluster.segment.bridge,
        );
        for node in &cluster.nodes {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                node.name,
                role(node),
                node.vmid,
                node.proxmox_node,
                shown(node.ipv6),
                shown(node.ipv4),
                node.mac,
            );
        }
    }
    out
}
