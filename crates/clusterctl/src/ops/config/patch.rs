//! `config patch`: patches merged into a configuration, as `talosctl machineconfig patch` does it.

use std::path::{Path, PathBuf};

use talos_client::config::{Patch, patch_text};
use zeroize::Zeroizing;

use super::super::{Context, Error};
use super::{is_encrypted, text_of};
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
/// A file cannot be read or written, or a patch does not fit; or what is encrypted would be written in
/// the clear.
pub fn patch(context: &Context, options: &Options) -> Result<Zeroizing<String>, Error> {
    if let Some(out) = &options.out {
        stays_encrypted(context, options, out)?;
    }
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

/// Nothing that is encrypted is written to a file in the clear, and no encrypted file is replaced.
fn stays_encrypted(context: &Context, options: &Options, out: &Path) -> Result<(), Error> {
    let patches = options.patches.iter().filter_map(|source| file_of(source));
    let read = std::iter::once(options.file.as_path()).chain(patches.map(Path::new));
    match read.chain([out]).find(|file| is_encrypted(context, file)) {
        None => Ok(()),
        Some(file) => Err(Error::failed(format!(
            "{} is encrypted, and {} would hold it in the clear",
            file.display(),
            out.display()
        ))
        .hint("without --out the outcome is printed; `sops encrypt` takes it from there")),
    }
}

/// The file that a patch is in: one word that is no JSON is its name.
fn file_of(source: &str) -> Option<&str> {
    let is_one_word = !source.starts_with(['[', '{']) && !source.contains([' ', '\n']);
    source.strip_prefix('@').or_else(|| is_one_word.then_some(source))
}

/// A patch as talosctl takes it.
fn read(context: &Context, source: &str) -> Result<Patch, Error> {
    let (origin, text) = match file_of(source) {
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
