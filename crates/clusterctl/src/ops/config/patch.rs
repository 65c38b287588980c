//! `config patch`: patches merged into a configuration, as `talosctl machineconfig patch` does it.

use std::path::{Path, PathBuf};

use talos_client::config::{Patch, patch_text};
use zeroize::Zeroizing;

use super::super::{Context, Error};
use super::text_of;
use crate::state::{Mode, write};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration.
    pub file: PathBuf,
    /// Patches in their order: `@FILE`, the name of a file, or the patch itself.
    pub patches: Vec<String>,
    /// Where the outcome is written to; it may be the file itself.
    pub out: Option<PathBuf>,
}

/// The patched configuration. It is written with mode 0600 where a file for it is named.
///
/// # Errors
/// A file cannot be read or written, or a patch does not fit.
pub fn patch(context: &Context, options: &Options) -> Result<Zeroizing<String>, Error> {
    let text = text_of(context, &options.file)?;
    let read = |source: &String| read(context, source);
    let patches = options.patches.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let name = options.file.display();
    let patched = patch_text(&text, &patches)
        .map_err(|error| Error::failed(format!("patch {name}")).because(error))?;
    if let Some(out) = &options.out {
        write(&context.cwd.join(out), patched.as_bytes(), Mode::Private)
            .map_err(|error| Error::failed("write the configuration").because(error))?;
    }
    Ok(patched)
}

/// A patch as talosctl takes it: one word that is no JSON is the name of a file.
fn read(context: &Context, source: &str) -> Result<Patch, Error> {
    let is_one_word = !source.starts_with(['[', '{']) && !source.contains([' ', '\n']);
    let file = source.strip_prefix('@').or_else(|| is_one_word.then_some(source));
    let (origin, text) = match file {
        Some("") => return Err(Error::usage("a patch is empty")),
        Some(file) => (file, text_of(context, Path::new(file))?),
        None => ("the patch", Zeroizing::new(source.to_owned())),
    };
    Patch::parse(origin, &text).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        let failure = Error::failed("read a patch").because(error);
        hint.into_iter().fold(failure, Error::hint)
    })
}
