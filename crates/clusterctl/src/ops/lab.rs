//! `lab`: starts, ends and shows the simulated site of a tree.

use super::{Context, Error, ErrorKind};
use crate::lab::{Down, Lab, LabStatus, Launch, Manners};

/// What became of `lab up`.
#[derive(Debug)]
pub struct Up {
    /// The lab.
    pub status: LabStatus,
    /// It was not there before.
    pub is_new: bool,
}

/// Starts the lab of the tree, or tells the one that runs what the tree plans now.
///
/// # Errors
/// The tree has errors, or the lab does not start.
pub fn up(context: &Context, manners: Manners) -> Result<Up, Error> {
    let (root, loaded) = context.load_valid()?;
    let site = loaded.site.ok_or_else(|| Error::new(ErrorKind::Bug, "a valid tree has no site"))?;
    let launch = Launch { manners, ..Launch::this()? };
    let lab = Lab::ensure_with(&root, &site, &launch)?;
    Ok(Up { status: lab.status()?, is_new: lab.is_new() })
}

/// Ends the lab of the tree; what it holds is kept.
///
/// # Errors
/// There is no tree, or the lab does not end.
pub fn down(context: &Context) -> Result<Down, Error> {
    Ok(Lab::down(&context.root()?)?)
}

/// What runs in the lab of the tree; `None` when it does not run.
///
/// # Errors
/// There is no tree, or the lab does not answer.
pub fn status(context: &Context) -> Result<Option<LabStatus>, Error> {
    match Lab::running(&context.root()?)? {
        Some(lab) => Ok(Some(lab.status()?)),
        None => Ok(None),
    }
}
