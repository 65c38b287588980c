//! Images of a node.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::io::AsyncRead;

use super::service::timestamp;
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
    /// When it was pulled.
    pub created: Option<Timestamp>,
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
    pub(super) fn wire(self) -> common::ContainerdInstance {
        common::ContainerdInstance {
            driver: common::ContainerDriver::Cri.into(),
            namespace: self.namespace().into(),
        }
    }

    fn namespace(self) -> common::ContainerdNamespace {
        match self {
            Self::System => common::ContainerdNamespace::NsSystem,
            Self::Kubernetes => common::ContainerdNamespace::NsCri,
        }
    }
}

impl Client {
    /// Pulls an image; gives its reference with its digest, or the reference alone from nodes up to
    /// 1.12 that do not tell it. Those tell no progress either.
    ///
    /// # Errors
    /// See [`Error`]; [`ErrorKind::NotFound`] if the registry does not have it.
    pub async fn image_pull(
        &self,
        store: ImageStore,
        image: &str,
        progress: impl FnMut(&PullProgress),
    ) -> Result<String, Error> {
        if image.is_empty() {
            return Err(self.refused(&call::IMAGE_PULL, "no image is named"));
        }
        match self.pull(store, image, progress).await {
            Err(error) if is_unknown(&error) => self.pull_older(store, image).await,
            done => done,
        }
    }

    async fn pull(
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

    /// Up to 1.12: one answer when all is there.
    async fn pull_older(&self, store: ImageStore, image: &str) -> Result<String, Error> {
        let call = &call::OLD_IMAGE_PULL;
        let request = machine::ImagePullRequest {
            namespace: store.namespace().into(),
            reference: image.to_owned(),
        };
        self.ask_within::<_, machine::ImagePullResponse>(call, request, WHOLE_PULL).await?;
        let listed = self.images(store).await?.into_iter().find(|one| one.name == image);
        let digest = listed.map(|one| one.digest).filter(|digest| !digest.is_empty());
        Ok(digest
            .map_or_else(|| image.to_owned(), |digest| format!("{}@{digest}", repository(image))))
    }

    /// The images of a store. A node without a configuration has no store of Kubernetes, and says so
    /// only after some seconds.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn images(&self, store: ImageStore) -> Result<Vec<Image>, Error> {
        let request = machine::ImageServiceListRequest { containerd: Some(store.wire()) };
        let call = &call::IMAGE_LIST;
        match self.gather::<_, machine::ImageServiceListResponse>(call, request).await {
            Err(error) if is_unknown(&error) => self.images_older(store).await,
            answers => Ok(answers?
                .into_iter()
                .map(|wire| Image {
                    name: wire.name,
                    digest: wire.digest,
                    size: wire.size,
                    created: timestamp(wire.created_at),
                })
                .collect()),
        }
    }

    async fn images_older(&self, store: ImageStore) -> Result<Vec<Image>, Error> {
        let call = &call::OLD_IMAGE_LIST;
        let request = machine::ImageListRequest { namespace: store.namespace().into() };
        let mut images = Vec::new();
        for wire in self.gather::<_, machine::ImageListResponse>(call, request).await? {
            if let Some(error) = wire.metadata.as_ref().and_then(|one| self.told(call, one)) {
                return Err(error);
            }
            images.push(Image {
                name: wire.name,
                digest: wire.digest,
                size: wire.size,
                created: timestamp(wire.created_at),
            });
        }
        Ok(images)
    }

    /// Imports an image out of an archive, as `docker save` and `skopeo copy … oci-archive:…` write it, in
    /// constant memory; gives its reference. Administrators only; from 1.13 on.
    ///
    /// # Errors
    /// See [`Error`]; also if the source cannot be read.
    pub async fn image_import(
        &self,
        store: ImageStore,
        archive: impl AsyncRead + Unpin,
    ) -> Result<String, Error> {
        use machine::image_service_import_request::Request;

        let call = &call::IMAGE_IMPORT;
        let message = |request| machine::ImageServiceImportRequest { request: Some(request) };
        let head = message(Request::Containerd(store.wire()));
        let wrap = |frame| message(Request::ImageChunk(frame));
        let answer: machine::ImageServiceImportResponse =
            self.feed(call, archive, Some(head), wrap).await?;
        if answer.name.is_empty() {
            return Err(self.odd(call, "the node did not name the image that it imported"));
        }
        Ok(answer.name)
    }

    /// Removes an image; false if it was not there. Administrators only; from 1.13 on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn image_remove(&self, store: ImageStore, image: &str) -> Result<bool, Error> {
        let request = machine::ImageServiceRemoveRequest {
            containerd: Some(store.wire()),
            image_ref: image.to_owned(),
        };
        match self.unary::<_, ()>(&call::IMAGE_REMOVE, request).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How long a node may pull an image before it answers, where it tells no progress.
const WHOLE_PULL: Duration = Duration::from_mins(30);

/// A node that does not have the calls of 1.13.
fn is_unknown(error: &Error) -> bool {
    let text = error.server_text().unwrap_or_default();
    error.kind() == ErrorKind::Unimplemented && text.starts_with("unknown ")
}

/// A reference without its tag. A colon before the last slash is that of a port.
fn repository(image: &str) -> &str {
    let bare = image.split('@').next().unwrap_or_default();
    let slash = bare.rfind('/').map_or(0, |at| at + 1);
    let tag = bare.get(slash..).and_then(|name| name.find(':'));
    tag.and_then(|at| bare.get(..slash + at)).unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(repository("r.example:5000/a/b:v1"), "r.example:5000/a/b");
        assert_eq!(repository("r.example:5000/a/b@sha256:00"), "r.example:5000/a/b");
        assert_eq!(repository("r.example:5000/a/b"), "r.example:5000/a/b");
        assert_eq!(repository("b:v1@sha256:00"), "b");
    }
}
