//! Other versions of Talos on a node: images, upgrade, rollback.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::{common, machine};

/// How far an image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// Identity of the layer.
    pub layer: String,
    /// Bytes that are there.
    pub offset: i64,
    /// Bytes that there will be; 0 if that is not known.
    pub total: i64,
}

/// An image on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Reference.
    pub name: String,
    /// Digest.
    pub digest: String,
    /// Size in bytes.
    pub size: i64,
}

/// Whose images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageStore {
    /// Of the system, on the disk: installers, etcd, the kubelet.
    #[default]
    System,
    /// Of the pods of Kubernetes.
    Kubernetes,
}

impl ImageStore {
    fn wire(self) -> common::ContainerdInstance {
        let namespace = match self {
            Self::System => common::ContainerdNamespace::NsSystem,
            Self::Kubernetes => common::ContainerdNamespace::NsCri,
        };
        common::ContainerdInstance {
            driver: common::ContainerDriver::Cri.into(),
            namespace: namespace.into(),
        }
    }
}

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

    /// Pulls an image; gives its reference with its digest. From 1.13 on.
    ///
    /// # Errors
    /// See [`Error`]; [`ErrorKind::NotFound`] if the registry does not have it.
    pub async fn image_pull(
        &self,
        store: ImageStore,
        image: &str,
        mut progress: impl FnMut(&PullProgress),
    ) -> Result<String, Error> {
        use machine::image_service_pull_response::Response;

        let call = &call::IMAGE_PULL;
        let request = machine::ImageServicePullRequest {
            containerd: Some(store.wire()),
            image_ref: image.to_owned(),
        };
        let mut name = None;
        let mut stream = self.open::<_, machine::ImageServicePullResponse>(call, request).await?;
        let stall = self.timeouts().long;
        loop {
            let next = tokio::time::timeout(stall, stream.next()).await;
            match next.map_err(|_| self.late(call, stall))? {
                None => break,
                Some(Err(status)) => return Err(self.failed(call, &status)),
                Some(Ok(answer)) => match answer.response {
                    Some(Response::Name(found)) => name = Some(found),
                    Some(Response::PullProgress(layer)) => {
                        let done = layer.progress.unwrap_or_default();
                        progress(&PullProgress {
                            layer: layer.layer_id,
                            offset: done.offset,
                            total: done.total,
                        });
                    }
                    None => {}
                },
            }
        }
        name.ok_or_else(|| self.odd(call, "the node did not name the image that it pulled"))
    }

    /// The images of a store. From 1.13 on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn images(&self, store: ImageStore) -> Result<Vec<Image>, Error> {
        let request = machine::ImageServiceListRequest { containerd: Some(store.wire()) };
        let answers =
            self.gather::<_, machine::ImageServiceListResponse>(&call::IMAGE_LIST, request).await?;
        let image = |wire: machine::ImageServiceListResponse| Image {
            name: wire.name,
            digest: wire.digest,
            size: wire.size,
        };
        Ok(answers.into_iter().map(image).collect())
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
}
