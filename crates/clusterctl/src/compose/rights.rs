//! What a plan must be allowed to do in Proxmox, told before its first change.

use std::collections::BTreeMap;

use proxmox_client::plan::rights::Rights;
use proxmox_client::plan::vm::VmChange;
use proxmox_client::{Permissions, VmId};

use super::action::Action;
use super::crew::Crew;
use super::draft::{Problem, has_agent};
use super::machine::{Ground, MEDIUM_KEY, Storages, desired};
use crate::engine::Plan;

/// The privileges that carrying a plan out takes.
pub fn needed(crew: &Crew, storages: &Storages, plan: &Plan<Action>) -> Rights {
    let vnets = crew
        .site
        .sdn
        .iter()
        .flat_map(|sdn| sdn.vnets.keys().map(|vnet| (vnet.clone(), sdn.zone_id.clone())));
    let mut rights = Rights::new(vnets.collect::<BTreeMap<_, _>>());
    for step in plan.steps.values() {
        match &step.action {
            Action::Networks { plan } => rights.networks(&plan.changes),
            Action::Upload { storage, .. } => rights.upload(storage),
            Action::RemoveIso { storage, .. } => rights.delete_file(storage),
            Action::CreateMachine { cluster, node } => {
                let ground = Ground { site: &crew.site, storages, guest_agent: has_agent(crew) };
                let wanted = crew.node(cluster, node).and_then(|(cluster, node)| {
                    let file = crew.images.iso_of(cluster).unwrap_or_default();
                    desired(ground, cluster, node, &format!("{}:iso/{file}", storages.iso))
                });
                if let Ok(wanted) = wanted {
                    rights.create_vm(&wanted);
                }
            }
            Action::ChangeMachine { cluster, node, changes } => {
                if let Some(vmid) = number(crew, cluster, node) {
                    rights.change_vm(vmid, changes);
                }
            }
            Action::StartMachine { cluster, node } => {
                if let Some(vmid) = number(crew, cluster, node) {
                    rights.power_vm(vmid);
                }
            }
            Action::EjectMedium { cluster, node } => {
                if let Some(vmid) = number(crew, cluster, node) {
                    let change = VmChange::Set {
                        key: MEDIUM_KEY.to_owned(),
                        before: None,
                        after: "none,media=cdrom".to_owned(),
                    };
                    rights.change_vm(vmid, &[change]);
                }
            }
            Action::DestroyMachine { vmid, .. } => {
                if let Ok(vmid) = VmId::try_from(*vmid) {
                    rights.destroy_vm(vmid);
                }
            }
            Action::MakeExtension
            | Action::Schematic
            | Action::FetchIso { .. }
            | Action::CopyInstaller { .. }
            | Action::PinImage { .. }
            | Action::MakeSecrets { .. }
            | Action::Configure { .. }
            | Action::Reach { .. }
            | Action::Reconfigure { .. }
            | Action::Bootstrap { .. }
            | Action::AwaitCluster { .. }
            | Action::WriteAccess { .. }
            | Action::RemoveAccess { .. } => {}
        }
    }
    rights
}

fn number(crew: &Crew, cluster: &str, node: &str) -> Option<VmId> {
    crew.node(cluster, node).ok().and_then(|(_, node)| VmId::try_from(node.vmid).ok())
}

/// What is missing, as one problem with the commands that grant it; none when nothing is.
pub fn problem(needed: &Rights, has: &Permissions) -> Option<Problem> {
    let missing = has.missing(needed.pairs());
    if missing.is_empty() {
        return None;
    }
    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, privilege) in &missing {
        by_path.entry(path).or_default().push(privilege);
    }
    // Many machines lack the same: the paths that lack it are counted.
    let mut by_set: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (path, privileges) in by_path {
        by_set.entry(privileges).or_default().push(path);
    }
    let lacks: Vec<String> = by_set
        .iter()
        .map(|(privileges, paths)| format!("{} on {}", privileges.join(", "), first_of(paths)))
        .collect();
    let all: std::collections::BTreeSet<&str> = missing.iter().map(|(_, one)| *one).collect();
    let all: Vec<&str> = all.into_iter().collect();
    Some(Problem {
        text: format!("Proxmox does not allow us: {}", lacks.join("; ")),
        help: format!(
            "as root@pam: pveum role add Clusterctl --privs \"{}\"; then for each path: pveum acl modify PATH \
             --roles Clusterctl --tokens 'USER@REALM!TOKEN' (and the same with --users where the token's privileges are separated)",
            all.join(" ")
        ),
    })
}

/// What only `root@pam` itself may set, as one problem: no token may, whatever it is granted.
pub fn of_root(needed: &Rights, is_root: bool) -> Option<Problem> {
    let things: Vec<&str> = needed.root_only().collect();
    if is_root || things.is_empty() {
        return None;
    }
    Some(Problem {
        text: format!(
            "Proxmox does not allow us what only root@pam with its password may set, whatever is granted to others: {}",
            first_of(&things)
        ),
        help: "name the device by a `mapping` of Proxmox instead of its address, or give `pve_username` root@pam and its \
               `pve_password` instead of a token"
            .to_owned(),
    })
}

fn first_of(all: &[&str]) -> String {
    let first = all.first().copied().unwrap_or_default();
    match all.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_root_may_set_is_a_problem_of_everybody_else() {
        let set = |key: &str, after: &str| VmChange::Set {
            key: key.to_owned(),
            before: None,
            after: after.to_owned(),
        };
        let mut needed = Rights::default();
        let id = VmId::try_from(103_021).unwrap();
        needed.change_vm(id, &[set("cores", "4"), set("hostpci0", "mapping=gpu")]);
        assert!(of_root(&needed, false).is_none());
        needed.change_vm(id, &[set("hostpci0", "host=0000:01:00.0"), set("args", "-x")]);
        let problem = of_root(&needed, false).unwrap();
        assert!(
            problem.text.ends_with("others: args of machine 103021 and 1 more"),
            "{}",
            problem.text
        );
        assert!(of_root(&needed, true).is_none());
    }
}
