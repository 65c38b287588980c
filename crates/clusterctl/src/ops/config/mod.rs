//! `config`: machine configurations, rendered from the tree, compared, checked and patched.
//!
//! Nothing here asks a node or Proxmox. Files may be encrypted with SOPS; `-` is standard input.

pub mod diff;
pub mod patch;
pub mod render;
pub mod validate;

use std::io::Read as _;
use std::path::Path;

use talos_client::config::release::release;
use zeroize::Zeroizing;

use super::{Context, Error};
use crate::compose::bundle::{BundleStore, is_sealed};
use crate::state::Layout;

/// Largest configuration that is read from standard input, in bytes: what a node takes at most.
const LARGEST: u64 = 32 << 20;

/// Whether a file of the user is encrypted with SOPS, in whatever format.
fn is_encrypted(context: &Context, file: &Path) -> bool {
    file != Path::new("-")
        && fs_err::read_to_string(context.cwd.join(file))
            .is_ok_and(|text| is_sealed(&text) || text.contains("ENC[AES256_GCM,"))
}

/// A file of the user; decrypted where it is encrypted.
fn text_of(context: &Context, file: &Path) -> Result<Zeroizing<String>, Error> {
    if file == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(LARGEST)
            .read_to_string(&mut text)
            .map_err(|error| Error::failed("read standard input").because(error))?;
        return Ok(text);
    }
    let key_file =
        context.load().ok().and_then(|(_, loaded)| loaded.site?.credentials.age_key_file);
    let store = BundleStore::new(Layout::new(&context.cwd, false), context.variables.clone());
    let store = match key_file {
        Some(file) => store.with_key_file(file),
        None => store,
    };
    store.plain_text(&context.cwd.join(file))
}

/// The minor version of Talos 1 that a text such as `v1.13.2` or `1.13` names.
fn minor_of(text: &str) -> Result<u32, Error> {
    let version = text.strip_prefix('v').unwrap_or(text);
    let minor = version.strip_prefix("1.").and_then(|rest| rest.split('.').next());
    let minor = minor.and_then(|minor| minor.parse().ok());
    let Some(minor) = minor else {
        return Err(Error::usage(format!("{text:?} is no version of Talos"))
            .hint("write it as 1.13 or v1.13.2"));
    };
    release(minor).map(|_| minor).map_err(Error::usage)
}
