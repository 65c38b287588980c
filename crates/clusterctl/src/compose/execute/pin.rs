//! The image that nodes install Cilium with, by digest.

use std::time::Duration;

use imagefactory::{Error, ErrorKind, ImageReference};

use super::Hands;
use super::verdict::{images, own};
use crate::compose::cilium::DEFAULT_CLI_IMAGE;
use crate::engine::{Check, StepError};
use crate::error::chain;

/// How long a registry may take to tell a digest: the client asks it several times in it.
const PIN_TIME: Duration = Duration::from_secs(20);

impl Hands {
    pub(super) fn check_pin(&self, reference: &str) -> Check {
        match self.crew.lock_file().references.contains_key(reference) {
            true => Check::Done("the lock file has its digest".to_owned()),
            false => Check::Ready,
        }
    }

    /// Pins an image that nodes fetch. They may reach a registry that this machine does not: then
    /// the tag stays, and what is returned is to be told. An image that is not there, or not for
    /// us, stops the cluster before anything of it exists.
    pub(super) async fn pin_image(&self, reference: &str) -> Result<Option<String>, StepError> {
        let what = format!("look for {reference}");
        let image: ImageReference = reference.parse().map_err(images(&what))?;
        let found = tokio::time::timeout(PIN_TIME, self.crew.registry.resolve(&image)).await;
        let why = match found {
            Ok(Ok(resolved)) => {
                let (name, digest) = (reference.to_owned(), resolved.digest.to_string());
                self.crew
                    .update_lock_file(|lock| drop(lock.references.insert(name, digest)))
                    .map_err(own)?;
                return Ok(None);
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => chain(&error),
            Ok(Err(error)) => return Err(refused(reference, &error)),
            Err(_) => format!("no answer in {} s", PIN_TIME.as_secs()),
        };
        Ok(Some(format!(
            "not pinned, the cluster keeps the tag and its nodes fetch what that means then: {why}"
        )))
    }
}

/// Why an image cannot be pinned, and what to do: where only nodes may read it, its digest has to
/// come from the tree.
fn refused(reference: &str, error: &Error) -> StepError {
    let first = match (error.kind(), error.help()) {
        (ErrorKind::NotFound, _) if reference == DEFAULT_CLI_IMAGE => {
            "set cilium_cli_image in common/versions.hcl to an image that your registries have"
                .to_owned()
        }
        (ErrorKind::NotFound, _) => "correct cilium_cli_image in common/versions.hcl".to_owned(),
        (_, Some(help)) => help.to_owned(),
        (_, None) => "see to it that this machine can read the image".to_owned(),
    };
    StepError::failed_with_help(
        format!("look for {reference}: {}", chain(error)),
        format!(
            "{first}; where only nodes can read the image, give it by digest: cilium_cli_image = \
             \"{reference}@sha256:…\", and nobody looks for it from here"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compose::crew::tests::crew;
    use crate::compose::machine::Storages;

    #[tokio::test]
    async fn a_registry_that_only_nodes_reach_pins_nothing_and_is_told() {
        let crew = Arc::new(crew(12, "controlplanes = 1\n"));
        let storages = Storages { iso: "local".into(), vm: "local".into() };
        let before = crew.lock_file();
        let hands = Hands::new(Arc::clone(&crew), storages, Vec::new());
        let told = hands.pin_image("127.0.0.1:1/cli:v1").await.unwrap().unwrap();
        assert!(told.contains("keeps the tag") && told.contains("127.0.0.1:1"), "{told}");
        assert_eq!(crew.lock_file(), before);
    }
}
