//! How a configuration gets to a node of a version, in the state that the node is in.

use std::time::Duration;

use super::{Effect, Prediction, Refusal};
use crate::api::ApplyMode;

/// When a configuration shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as it can, with a reboot if it takes one.
    Now,
    /// From the next boot on, whenever that is.
    NextBoot,
    /// At once, and taken back after that time unless another follows; zero for the node's own default.
    Try(Duration),
}

/// How to apply a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Application {
    /// With this mode.
    pub mode: ApplyMode,
    /// The node reboots for it by itself.
    pub node_reboots: bool,
    /// It holds only after a reboot that the node leaves to the caller.
    pub reboot_after: bool,
}

/// The way to apply a change to a node of a minor version of Talos 1. Nodes up to 1.13 reboot for what
/// takes a reboot; from 1.14 on they never do, and the caller has to. In maintenance mode a configuration
/// installs the node, and what is predicted does not matter.
///
/// # Errors
/// There is none: a trial of what takes a reboot, or a mode that nodes of this version do not have in
/// maintenance mode.
pub fn application(
    prediction: &Prediction,
    minor: u32,
    maintenance: bool,
    when: When,
) -> Result<Application, Refusal> {
    if maintenance {
        let mode = match when {
            When::Now => ApplyMode::Auto,
            When::NextBoot if minor < 13 => {
                let text = format!("a node of 1.{minor} in maintenance mode stages nothing");
                return Err(Refusal::ever(text));
            }
            When::NextBoot => ApplyMode::Staged,
            When::Try(time) => ApplyMode::Try(time),
        };
        return Ok(Application { mode, node_reboots: when == When::Now, reboot_after: false });
    }
    let takes_reboot = prediction.effect == Effect::Reboot || !prediction.is_taken_live;
    let (mode, node_reboots, reboot_after) = match when {
        When::NextBoot => (ApplyMode::Staged, false, false),
        When::Try(_) if takes_reboot => {
            return Err(Refusal::ever("a change that takes a reboot cannot be tried"));
        }
        When::Try(time) => (ApplyMode::Try(time), false, false),
        When::Now if prediction.is_taken_live || minor >= 14 => {
            (ApplyMode::NoReboot, false, takes_reboot)
        }
        When::Now => (ApplyMode::Reboot, true, false),
    };
    Ok(Application { mode, node_reboots, reboot_after })
}
