//! The extension that images are built with and that is made here.

use super::{Draft, Sketch};
use crate::compose::action::Action;
use crate::compose::target::{EXTENSION, Extent};

/// The step that makes the extension.
pub(super) const STEP: &str = "extension/image";

impl Draft<'_> {
    pub(super) fn extension(&mut self) {
        if self.wish.target.extension == Extent::None {
            return;
        }
        let recipe = self.crew.images.build.as_ref();
        let (Some(own), Some(source)) =
            (recipe.and_then(|recipe| recipe.own.as_ref()), &self.crew.site.extension)
        else {
            return;
        };
        let reason = match self.lock_file.images.get(&own.reference) {
            Some(pin) if pin.schematic == own.address => return,
            Some(_) => "what it is made from has changed",
            None => "the lock file has no digest of it",
        };
        let title = format!("make the extension {} and push {}", source.name, own.reference);
        let sketch = Sketch::new(STEP, EXTENSION, title)
            .because(reason)
            .token("build", "images".to_owned())
            .seconds(30, 3600);
        self.step(sketch, Action::MakeExtension);
    }
}
