//! Another version of the system: written beside the running one, tried at the next boot.

use std::sync::Arc;

use serde_json::json;

use super::super::disk::Content;
use super::super::fault::FaultAction;
use super::super::kube;
use super::super::node::NodeInner;
use super::super::spec::NodeEventKind;
use super::{End, close, notify, pause};

/// Why an installer gave up, as its last line tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

/// Write the slot that is not in use, and have it booted next.
///
/// # Errors
/// When the installer gives up.
pub(crate) fn write(node: &NodeInner, image: &str) -> Result<String, Refused> {
    let reference = image.split('@').next().unwrap_or_default();
    let (name, version) = reference.rsplit_once(':').unwrap_or((reference, ""));
    let running = node.machine().system.version.clone();
    reaches(&running, version).map_err(Refused)?;
    match node.net().and_then(|net| net.faults.take(&node.names(), "@install")) {
        None => {}
        Some(FaultAction::DiskFull) => {
            return Err(Refused("failed to write the boot slot: no space left on device".into()));
        }
        Some(_) => return Err(Refused("failed to install the boot loader".into())),
    }
    let schematic = name.rsplit('/').next().filter(|s| s.len() == 64).unwrap_or_default();
    node.write(|c: &mut Content| {
        let mut next = c.installed.clone().unwrap_or_default();
        version.clone_into(&mut next.version);
        // The image is all that there is: without a schematic it brings no extensions.
        schematic.clone_into(&mut next.schematic);
        c.previous = c.installed.replace(next);
        c.trial = true;
    });
    Ok(version.to_owned())
}

/// Whether an installer works on a host of another version: from two minors below to one above.
fn reaches(host: &str, target: &str) -> Result<(), String> {
    let minor = |version: &str| -> Option<i64> {
        version.trim_start_matches('v').split('.').nth(1)?.parse().ok()
    };
    let (Some(from), Some(to)) = (minor(host), minor(target)) else { return Ok(()) };
    if from < to - 2 {
        return Err(format!("host version {host} is too old to upgrade to Talos {target}"));
    }
    if from >= to + 2 {
        return Err(format!("host version {host} is too new to downgrade to Talos {target}"));
    }
    Ok(())
}

/// The older call: drain, stop, install, boot.
pub(super) async fn run(node: &Arc<NodeInner>, image: &str, actor: &str) -> End {
    node.log.act_for(actor);
    node.log.sequence("upgrade", "START");
    node.stage("upgrading");
    let failed = |why: &str| {
        let data =
            json!({"sequence": "upgrade", "error": {"message": format!("sequence failed: {why}")}});
        node.log.add("SequenceEvent", data);
    };
    if let Err(why) = kube::drain(node) {
        failed(&why);
        node.stage("running");
        return Box::pin(super::serve(node)).await;
    }
    pause(node, 8.0).await;
    node.halt_etcd();
    pause(node, 10.0).await;
    match write(node, image) {
        Ok(_) => node.log.sequence("upgrade", "STOP"),
        Err(Refused(why)) => failed(&why),
    }
    close(node);
    pause(node, 5.0).await;
    End::Reboot
}

/// At an early boot: what was asked for before it.
pub(super) async fn staged(node: &NodeInner) -> Option<End> {
    let image = node.content().upgrade?;
    node.write(|c| c.upgrade = None);
    node.stage("upgrading");
    pause(node, 10.0).await;
    if let Err(Refused(why)) = write(node, &image) {
        let data = json!({"sequence": "stageUpgrade", "error": {"message": why}});
        node.log.add("SequenceEvent", data);
    }
    Some(End::Reboot)
}

/// Power-on with a system that has not run yet: when it does not come up, the boot loader takes the one before.
pub(super) fn fall_back(node: &NodeInner) {
    let is_trial = node.content().trial;
    let fails = is_trial
        && node.net().is_some_and(|net| net.faults.take(&node.names(), "@trial").is_some());
    if fails {
        node.write(|c| {
            std::mem::swap(&mut c.installed, &mut c.previous);
            c.trial = false;
        });
        let why = "the new system did not come up; the one before is booted".to_owned();
        notify(node, NodeEventKind::BootFailed(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_reaches_two_minors_up_and_one_down() {
        assert_eq!(reaches("v1.11.5", "v1.13.9"), Ok(()));
        assert!(reaches("v1.10.0", "v1.13.9").unwrap_err().contains("too old"));
        assert_eq!(reaches("v1.13.9", "v1.12.4"), Ok(()));
        assert!(reaches("v1.13.9", "v1.11.5").unwrap_err().contains("too new"));
    }
}
