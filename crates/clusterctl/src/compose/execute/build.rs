//! Images that are built here.

use imagefactory::build::{BuildRequest, Builder, Built, Catalog, ImageSource, OciImage, Platform};
use imagefactory::{Architecture, Cache, Digest, ImageReference};
use semver::Version;

use super::Hands;
use super::verdict::{images, own};
use crate::compose::image::{Recipe, VersionImages};
use crate::compose::need::{extensions_list, is_definite, lab_name, whole};
use crate::engine::{StepContext, StepError};
use crate::state::ImagePin;

impl Hands {
    /// What is to be built of a version; extensions without a digest get the one of now.
    async fn request(
        &self,
        version: &Version,
        recipe: &Recipe,
        cache: &Cache,
    ) -> Result<BuildRequest, StepError> {
        let site = &self.crew.site;
        let architecture: Architecture =
            site.versions.architecture.parse().map_err(images("read talos_architecture"))?;
        let platform: Platform =
            site.versions.platform.parse().map_err(images("read talos_platform"))?;
        let mut extensions = Vec::new();
        let mut catalog = None;
        for text in &recipe.extensions {
            let is_own = recipe.own.as_ref().is_some_and(|own| own.reference == *text);
            if is_own {
                extensions.push(self.pinned(text.clone()).await?);
            } else if self.crew.is_lab() {
                extensions.push(self.pinned(lab_name(text)).await?);
            } else if is_definite(text) {
                extensions.push(self.pinned(whole(text)).await?);
            } else {
                let catalog = match &mut catalog {
                    Some(catalog) => catalog,
                    none => {
                        let image = self.pinned(extensions_list(version)).await?;
                        let read = Catalog::read(&image, &self.crew.registry, cache).await;
                        none.insert(read.map_err(images("read the list of official extensions"))?)
                    }
                };
                let name = text.strip_prefix("ghcr.io/").unwrap_or(text);
                let found = catalog.find(name).map_err(images("find an extension"))?;
                extensions.push(ImageSource::Registry(found.image.clone()));
            }
        }
        Ok(BuildRequest {
            version: version.clone(),
            architecture,
            platform,
            imager: self.pinned(format!("{}:v{version}", recipe.imager)).await?,
            installer_base: None,
            iso: true,
            extensions,
            kernel_args: site.schematic.kernel_args.clone(),
            schematic: Some(self.crew.images.schematic.clone()),
        })
    }

    /// An image by digest: the one of the lock file, else the one of now, which goes into it.
    async fn pinned(&self, text: String) -> Result<ImageSource, StepError> {
        let image: ImageReference =
            text.parse().map_err(images(&format!("read the image {text}")))?;
        if image.digest().is_some() {
            return Ok(ImageSource::Registry(image));
        }
        let known = self.crew.lock_file().references.get(&text).cloned();
        let digest = match known {
            Some(known) => known.parse().map_err(images(&format!("read the pin of {text}")))?,
            None => {
                let found = self.crew.registry.resolve(&image).await;
                let digest = found.map_err(images(&format!("look for {text}")))?.digest;
                let pin = digest.to_string();
                self.crew
                    .update_lock_file(|lock| drop(lock.references.insert(text, pin)))
                    .map_err(own)?;
                digest
            }
        };
        Ok(ImageSource::Registry(image.with_digest(digest)))
    }

    pub(super) fn oci_cache(&self) -> Result<Cache, StepError> {
        Cache::open(self.crew.layout.cache().join("oci")).map_err(images("open the cache"))
    }

    fn recipe(&self) -> Result<&Recipe, StepError> {
        let recipe = self.crew.images.build.as_ref();
        recipe.ok_or_else(|| StepError::failed("the tree asks for images of the factory"))
    }

    async fn run(
        &self,
        request: BuildRequest,
        cache: &Cache,
        context: &StepContext,
    ) -> Result<Built, StepError> {
        let builder = Builder::new(cache.clone(), self.crew.registry.clone());
        let tell = |step: &str| tracing::info!(step, "build images");
        let built = builder.build(&request, &tell).await.map_err(images("build images"))?;
        built.remarks.iter().for_each(|remark| context.remark(remark));
        Ok(built)
    }

    pub(super) async fn build_iso(
        &self,
        version: &Version,
        wanted: &VersionImages,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let cache = self.oci_cache()?;
        let request = self.request(version, self.recipe()?, &cache).await?;
        let built = self.run(request, &cache, context).await?;
        let iso = built.iso.ok_or_else(|| StepError::failed("the build made no ISO"))?;
        let file = wanted.factory.iso_name.clone();
        let path = self.crew.iso_path(&file);
        let (from, to) = (iso.path.clone(), path.clone());
        tokio::task::spawn_blocking(move || crate::state::copy_file(&from, &to))
            .await
            .map_err(|error| StepError::failed(format!("write {file}: {error}")))?
            .map_err(|error| StepError::failed(format!("write {}: {error}", path.display())))?;
        context.progress(iso.size, Some(iso.size));
        self.note_image(file, version, iso.digest, iso.size)
    }

    pub(super) async fn build_installer(
        &self,
        version: &Version,
        copy: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let to: ImageReference =
            copy.parse().map_err(images(&format!("read the reference {copy}")))?;
        // A build whose end cannot be stored is no use.
        self.crew.registry.check_push(&to).await.map_err(images(&format!("push to {to}")))?;
        let cache = self.oci_cache()?;
        let recipe = self.recipe()?;
        let mut request = self.request(version, recipe, &cache).await?;
        let base = format!("{}:v{version}", recipe.installer_base);
        request.installer_base = Some(self.pinned(base).await?);
        request.iso = false;
        // As at a factory: what the installer writes is for the platform that it is called by.
        request.platform = Platform::Metal;
        let near = match &request.installer_base {
            Some(ImageSource::Registry(base)) => vec![base.clone()],
            _ => Vec::new(),
        };
        let built = self.run(request, &cache, context).await?;
        let image =
            built.installer.ok_or_else(|| StepError::failed("the build made no installer"))?;
        let size = image.parts().map(|part| part.size).sum();
        let pushed = OciImage::push_near(&[image], &to, &near, &self.crew.registry, &cache).await;
        let digest = pushed.map_err(images(&format!("push to {to}")))?;
        context.progress(size, Some(size));
        let name = copy.to_owned();
        self.crew
            .update_lock_file(|lock| drop(lock.references.insert(name, digest.to_string())))
            .map_err(own)?;
        self.note_image(copy.to_owned(), version, digest, size)
    }

    fn note_image(
        &self,
        name: String,
        version: &Version,
        digest: Digest,
        size: u64,
    ) -> Result<(), StepError> {
        let pin = ImagePin {
            schematic: self.crew.images.identity.clone(),
            talos_version: format!("v{version}"),
            sha256: digest.hex(),
            size,
        };
        self.crew.update_lock_file(|lock| drop(lock.images.insert(name, pin))).map_err(own)
    }
}
