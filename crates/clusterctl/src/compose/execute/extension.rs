//! The extension of the tree: its packages fetched, put together, checked, pushed.

use imagefactory::build::OciImage;
use imagefactory::{Architecture, ImageReference};

use super::Hands;
use super::verdict::{images, own};
use crate::compose::extension::Workshop;
use crate::compose::image::OwnExtension;
use crate::engine::{Check, StepContext, StepError};
use crate::spec::site::ExtensionSource;
use crate::state::ImagePin;

impl Hands {
    fn extension(&self) -> Result<(&ExtensionSource, &OwnExtension), StepError> {
        let recipe = self.crew.images.build.as_ref();
        let own = recipe.and_then(|recipe| recipe.own.as_ref());
        let found = self.crew.site.extension.as_ref().zip(own);
        found.ok_or_else(|| StepError::failed("the tree makes no extension"))
    }

    pub(super) fn check_extension(&self) -> Result<Check, StepError> {
        let (_, own) = self.extension()?;
        let lock = self.crew.lock_file();
        let made = lock.images.get(&own.reference).is_some_and(|pin| pin.schematic == own.address)
            && lock.references.contains_key(&own.reference);
        Ok(if made { Check::Done("it was made".to_owned()) } else { Check::Ready })
    }

    pub(super) async fn make_extension(&self, context: &StepContext) -> Result<(), StepError> {
        let (source, made) = self.extension()?;
        let to: ImageReference = made
            .reference
            .parse()
            .map_err(images(&format!("read the reference {}", made.reference)))?;
        // What cannot be stored need not be made.
        self.crew.registry.check_push(&to).await.map_err(images(&format!("push to {to}")))?;
        let architecture: Architecture = self
            .crew
            .site
            .versions
            .architecture
            .parse()
            .map_err(images("read talos_architecture"))?;
        let cache = self.oci_cache()?;
        let workshop = Workshop {
            fetcher: &self.crew.fetcher,
            cache: &cache,
            pins: self.crew.lock_file().references,
            lab: self.crew.is_lab(),
        };
        let all = Some(source.packages.len() as u64);
        let tell = |count: usize| context.progress(count as u64, all);
        let done = workshop.make(source, architecture, &tell).await.map_err(own)?;
        for remark in done.remarks {
            context.remark(remark);
        }
        let image = done.image;
        let size = image.parts().map(|part| part.size).sum();
        let pushed = OciImage::push(&[image], &to, &self.crew.registry, &cache).await;
        let digest = pushed.map_err(images(&format!("push to {to}")))?;
        let pin = ImagePin {
            schematic: made.address.clone(),
            // An extension is of no version of Talos: its manifest says for which ones it is.
            talos_version: String::new(),
            sha256: digest.hex(),
            size,
        };
        self.crew
            .update_lock_file(|lock| {
                lock.references.extend(done.pins);
                lock.references.insert(made.reference.clone(), digest.to_string());
                lock.images.insert(made.reference.clone(), pin);
            })
            .map_err(own)
    }
}
