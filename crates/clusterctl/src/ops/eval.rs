//! `eval`: an expression in the context of a file.

use std::path::{Path, PathBuf};

use super::context::opening;
use super::{Context, Error};
use crate::spec::hcl::{Failure, Loader, Options, Strictness, Value};
use crate::spec::model::Sources;

/// Evaluates an expression. The file is the given one, else the data file of the working folder,
/// else none.
///
/// # Errors
/// The file or the expression fails.
pub fn eval(context: &Context, file: Option<&Path>, expression: &str) -> Result<Value, Error> {
    let root = context.root().ok();
    let scratch = tempfile::tempdir()
        .map_err(|error| Error::failed("make a temporary folder").because(error))?;
    let file = match file {
        Some(file) => Some(context.cwd.join(file)),
        None => data_file(&context.cwd),
    };
    let (file, boundary) = match (file, root) {
        (Some(file), Some(root)) => (file, Some(root.repository)),
        (Some(file), None) => (file, None),
        (None, _) => {
            let empty = scratch.path().join("empty.hcl");
            fs_err::write(&empty, "")
                .map_err(|error| Error::failed("write a file").because(error))?;
            (empty, None)
        }
    };
    let file = fs_err::canonicalize(&file)
        .map_err(|error| Error::usage("open the file").because(error))?;
    let loader = Loader::new(Options {
        strictness: Strictness::Lazy,
        variables: context.variables.clone(),
        cwd: context.cwd.clone(),
        boundary,
        decrypt: opening(&context.variables, Vec::new()),
    });
    let result = loader.open(&file, None).and_then(|file| file.evaluate(expression));
    result.map_err(|failure| told(&failure, &Sources(loader.sources())))
}

/// The data file of a folder: the one `.hcl` file that is not Terragrunt's own.
fn data_file(dir: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs_err::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "hcl"))
        .filter(|path| path.file_name().is_some_and(|name| name != "terragrunt.hcl"))
        .collect();
    found.sort();
    if found.len() == 1 { found.pop() } else { None }
}

fn told(failure: &Failure, sources: &Sources) -> Error {
    let mut error = Error::failed(failure.message());
    if let Some(place) = failure.place().filter(|place| sources.0.contains_key(&place.file)) {
        error = error.detail(format!("at {}", sources.locate(place)));
    }
    if failure.chain().len() > 1 {
        error = error.detail(format!("asked for by {}", failure.chain().join(" <- ")));
    }
    match failure.help_text() {
        Some(help) => error.hint(help),
        None => error,
    }
}
