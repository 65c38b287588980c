//! Answers to `hcl-eval` and `hcl-tree`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clusterctl::spec::hcl::{DecryptedText, Failure, Loader, Options, Strictness, Value as Hcl};
use clusterctl::spec::sops;
use serde_json::{Value, json};

/// Our answer to a case, as JSON text.
pub(super) fn answer(kind: &str, tree: Option<&Path>, case: &Value) -> anyhow::Result<String> {
    match kind {
        "hcl-eval" => eval(case),
        _ => of_tree(tree, case),
    }
}

fn refused(failure: &Failure) -> String {
    json!({ "error": { "class": failure.class().name(), "text": failure.to_string() } }).to_string()
}

fn options(strictness: Strictness, cwd: PathBuf, variables: BTreeMap<String, String>) -> Options {
    let keys = variables.clone();
    Options {
        strictness,
        variables,
        cwd,
        boundary: None,
        decrypt: Box::new(move |path| decrypt(path, &keys)),
    }
}

fn decrypt(path: &Path, variables: &BTreeMap<String, String>) -> Result<DecryptedText, String> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    let sources =
        sops::IdentitySources { variables: variables.clone(), ..sops::IdentitySources::default() };
    let format = sops::Format::of_path(path);
    let mut identities = sops::Identities::gather(&sources);
    let opened =
        sops::decrypt(&bytes, format, &mut identities).map_err(|error| error.to_string())?;
    match opened {
        sops::Decrypted::Binary(bytes) => String::from_utf8(bytes.to_vec())
            .map(DecryptedText::Plain)
            .map_err(|error| error.to_string()),
        sops::Decrypted::Tree(_) => {
            opened.to_text(format).map(DecryptedText::Plain).map_err(|error| error.to_string())
        }
    }
}

/// An expression, or a whole locals block whose `result` counts.
fn eval(case: &Value) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let text = match (case["expr"].as_str(), case["locals"].as_str()) {
        (Some(expr), _) => format!("locals {{\nresult = {expr}\n}}\n"),
        (None, Some(locals)) => format!("locals {{\n{locals}\n}}\n"),
        (None, None) => anyhow::bail!("the case has neither `expr` nor `locals`"),
    };
    let file = dir.path().join("main.tf");
    fs_err::write(&file, text)?;
    let options = options(Strictness::Terraform, dir.path().to_path_buf(), BTreeMap::new());
    let loader = Loader::new(options);
    let value = loader.open(&file, None).and_then(|file| {
        file.check()?;
        file.local("result").unwrap_or(Ok(Hcl::NULL))
    });
    Ok(match value {
        Ok(value) => match value.to_json() {
            Some(text) => format!("{{\"value\":{text}}}"),
            None => json!({ "error": { "class": "value", "text": "not known" } }).to_string(),
        },
        Err(failure) => refused(&failure),
    })
}

fn of_tree(tree: Option<&Path>, case: &Value) -> anyhow::Result<String> {
    let own = tempfile::tempdir()?;
    let root = match tree {
        Some(dir) => fs_err::canonicalize(dir)?,
        None => {
            for (name, text) in case["files"].as_object().into_iter().flatten() {
                let path = own.path().join(name);
                fs_err::create_dir_all(path.parent().unwrap_or(own.path()))?;
                fs_err::write(path, text.as_str().unwrap_or_default())?;
            }
            fs_err::canonicalize(own.path())?
        }
    };
    let file = root.join(case["file"].as_str().unwrap_or_default());
    let own_folder = file.parent().unwrap_or(&root).to_path_buf();
    let cwd = case["cwd"].as_str().map_or(own_folder, |cwd| root.join(cwd));
    let variables: BTreeMap<String, String> = case["env"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value.as_str().unwrap_or_default();
            (name.clone(), text.replace("{root}", &root.to_string_lossy()))
        })
        .collect();
    let loader = Loader::new(options(Strictness::Terragrunt, cwd.clone(), variables));
    let result = loader.open(&file, Some(&cwd)).and_then(|file| file.evaluate_all());
    Ok(match result {
        Err(failure) => refused(&failure),
        Ok((locals, inputs)) => {
            let text = |value: Hcl| shown(&value).to_json().unwrap_or_else(|| "null".into());
            let locals = locals.map_or_else(|| "null".to_owned(), text);
            let inputs = inputs.map(text);
            let body = match inputs {
                Some(inputs) => format!("{{\"locals\":{locals},\"inputs\":{inputs}}}"),
                None => format!("{{\"locals\":{locals}}}"),
            };
            body.replace(&*root.to_string_lossy(), "{root}")
        }
    })
}

/// What is not known is printed as an empty text.
fn shown(value: &Hcl) -> Hcl {
    if value.is_unknown() {
        return Hcl::string("");
    }
    value.map_children(&shown)
}
