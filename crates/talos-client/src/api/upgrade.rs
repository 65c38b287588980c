//! Other versions of Talos on a node: upgrade, rollback.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::image::ImageStore;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine;

/// How a node is upgraded by its older call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpgradeOptions {
    /// Reboot first, and install early in that boot.
    pub stage: bool,
    /// Without the checks of etcd. Dangerous.
    pub force: bool,
    /// Reboot with the firmware.
    pub power_cycle: bool,
}

/// How long a node may pull and check an installer's image before it answers.
const INSTALLER: Duration = Duration::from_mins(30);

impl Client {
    /// Upgrades the node to the version of an installer's image: the node pulls the image, checks
    /// etcd, drains itself, installs and reboots. Gives the identity under which its events name
    /// this. All versions know this call.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn upgrade(&self, image: &str, options: UpgradeOptions) -> Result<String, Error> {
        let call = &call::UPGRADE;
        if image.is_empty() {
            return Err(self.refused(call, "no installer's image is named"));
        }
        let mode = match options.power_cycle {
            true => machine::upgrade_request::RebootMode::Powercycle,
            false => machine::upgrade_request::RebootMode::Default,
        };
        let request = machine::UpgradeRequest {
            image: image.to_owned(),
            // Up to 1.13 it also switches off the checks of etcd.
            preserve: false,
            stage: options.stage,
            force: options.force,
            reboot_mode: mode.into(),
        };
        let answer = self.ask_within::<_, machine::UpgradeResponse>(call, request, INSTALLER);
        Ok(answer.await?.actor_id)
    }

    /// Boots the version that was installed before the last upgrade.
    ///
    /// # Errors
    /// See [`Error`]; there may be none.
    pub async fn rollback(&self) -> Result<(), Error> {
        let request = machine::RollbackRequest {};
        self.ask::<_, machine::RollbackResponse>(&call::ROLLBACK, request).await?;
        Ok(())
    }

    /// Installs the version of an installer's image that was pulled into [`ImageStore::System`]
    /// beside the one that runs, and nothing else: checks of etcd, draining and the reboot are left
    /// to the caller. `progress` gets the installer's lines. From 1.13 on.
    ///
    /// # Errors
    /// See [`Error`]; [`ErrorKind::Server`] if the installer failed.
    pub async fn install_version(
        &self,
        image: &str,
        mut progress: impl FnMut(&str),
    ) -> Result<(), Error> {
        use machine::lifecycle_service_install_progress::Response;

        let call = &call::LIFECYCLE_UPGRADE;
        let request = machine::LifecycleServiceUpgradeRequest {
            containerd: Some(ImageStore::System.wire()),
            source: Some(machine::InstallArtifactsSource { image_name: image.to_owned() }),
        };
        let mut exit = None;
        let mut stream =
            self.open::<_, machine::LifecycleServiceUpgradeResponse>(call, request).await?;
        let stall = self.timeouts().long.max(Duration::from_mins(5));
        loop {
            let next = tokio::time::timeout(stall, stream.next()).await;
            match next.map_err(|_| self.late(call, stall))? {
                None => break,
                Some(Err(status)) => return Err(self.failed(call, &status)),
                Some(Ok(answer)) => match answer.progress.and_then(|progress| progress.response) {
                    Some(Response::Message(line)) => progress(line.trim_end()),
                    Some(Response::ExitCode(code)) => exit = Some(code),
                    None => {}
                },
            }
        }
        match exit {
            Some(0) => Ok(()),
            Some(code) => {
                let text = format!("the installer failed with exit code {code}");
                Err(self.named(Error::new(ErrorKind::Server, call.name, text)).maybe_applied(true))
            }
            None => Err(self.odd(call, "the node did not say how the installer ended")),
        }
    }

    /// Whether an installer is at work on the node, as after the answer of
    /// [`Client::install_version`] was lost: a node does one thing at a time and says so before it
    /// looks at what is asked for, so it is asked for nothing. From 1.13 on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_installing(&self) -> Result<bool, Error> {
        let call = &call::LIFECYCLE_ASK;
        let request = machine::LifecycleServiceUpgradeRequest {
            containerd: Some(ImageStore::System.wire()),
            source: None,
        };
        match self.gather::<_, machine::LifecycleServiceUpgradeResponse>(call, request).await {
            Err(error) if error.kind() == ErrorKind::Busy => Ok(true),
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Err(self.odd(call, "the node installs what has no name")),
        }
    }
}
