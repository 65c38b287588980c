//! Which blocks and attributes a file may have: Terragrunt's.

use super::ast::{Block, Body};
use super::error::{Class, Failure, did_you_mean};

type Result<T> = std::result::Result<T, Failure>;

const ATTRIBUTES: [&str; 18] = [
    "inputs",
    "terraform_binary",
    "terraform_version_constraint",
    "terragrunt_version_constraint",
    "download_dir",
    "iam_role",
    "iam_assume_role_duration",
    "iam_assume_role_session_name",
    "iam_web_identity_token",
    "prevent_destroy",
    "skip",
    "retryable_errors",
    "retry_max_attempts",
    "retry_sleep_interval_sec",
    "remote_state",
    "generate",
    "skip_credentials_validation",
    "values",
];

/// A block: its type, how many labels, attributes that it may have (none: any), required ones,
/// and blocks inside.
struct Shape {
    kind: &'static str,
    labels: std::ops::RangeInclusive<usize>,
    attributes: Option<&'static [&'static str]>,
    required: &'static [&'static str],
    blocks: &'static [Self],
}

const HOOK: [&str; 7] =
    ["commands", "execute", "run_on_error", "working_dir", "if", "suppress_stdout", "on_errors"];

const TERRAFORM_BLOCKS: &[Shape] = &[
    hook("before_hook"),
    hook("after_hook"),
    Shape {
        kind: "error_hook",
        labels: 1..=1,
        attributes: Some(&HOOK),
        required: &["commands", "execute", "on_errors"],
        blocks: &[],
    },
    Shape {
        kind: "extra_arguments",
        labels: 1..=1,
        attributes: Some(&[
            "commands",
            "arguments",
            "env_vars",
            "required_var_files",
            "optional_var_files",
        ]),
        required: &["commands"],
        blocks: &[],
    },
];

const fn hook(kind: &'static str) -> Shape {
    Shape {
        kind,
        labels: 1..=1,
        attributes: Some(&HOOK),
        required: &["commands", "execute"],
        blocks: &[],
    }
}

const fn open(kind: &'static str, labels: std::ops::RangeInclusive<usize>) -> Shape {
    Shape { kind, labels, attributes: None, required: &[], blocks: &[] }
}

static BLOCKS: &[Shape] = &[
    open("locals", 0..=0),
    Shape {
        kind: "include",
        labels: 0..=1,
        attributes: Some(&["path", "expose", "merge_strategy"]),
        required: &["path"],
        blocks: &[],
    },
    Shape {
        kind: "terraform",
        labels: 0..=0,
        attributes: Some(&[
            "source",
            "include_in_copy",
            "exclude_from_copy",
            "copy_terraform_lock_file",
        ]),
        required: &[],
        blocks: TERRAFORM_BLOCKS,
    },
    Shape {
        kind: "remote_state",
        labels: 0..=0,
        attributes: Some(&[
            "backend",
            "config",
            "generate",
            "disable_init",
            "disable_dependency_optimization",
            "encryption",
        ]),
        required: &["backend", "config"],
        blocks: &[],
    },
    Shape {
        kind: "dependency",
        labels: 1..=1,
        attributes: Some(&[
            "config_path",
            "enabled",
            "skip_outputs",
            "mock_outputs",
            "mock_outputs_allowed_terraform_commands",
            "mock_outputs_merge_with_state",
            "mock_outputs_merge_strategy_with_state",
        ]),
        required: &["config_path"],
        blocks: &[],
    },
    Shape {
        kind: "dependencies",
        labels: 0..=0,
        attributes: Some(&["paths"]),
        required: &["paths"],
        blocks: &[],
    },
    Shape {
        kind: "generate",
        labels: 1..=1,
        attributes: Some(&[
            "path",
            "if_exists",
            "if_disabled",
            "contents",
            "comment_prefix",
            "disable_signature",
            "disable",
            "hcl_fmt",
        ]),
        required: &["path", "if_exists", "contents"],
        blocks: &[],
    },
    Shape {
        kind: "feature",
        labels: 1..=1,
        attributes: Some(&["default"]),
        required: &["default"],
        blocks: &[],
    },
    Shape {
        kind: "errors",
        labels: 0..=0,
        attributes: Some(&[]),
        required: &[],
        blocks: &[open("retry", 1..=1), open("ignore", 1..=1)],
    },
    Shape {
        kind: "exclude",
        labels: 0..=0,
        attributes: Some(&["if", "actions", "exclude_dependencies", "no_run"]),
        required: &["if", "actions"],
        blocks: &[],
    },
    open("engine", 0..=0),
    open("catalog", 0..=0),
];

/// Checks a file's blocks and attributes.
pub(super) fn check(body: &Body) -> Result<()> {
    for attribute in &body.attributes {
        if !ATTRIBUTES.contains(&&*attribute.name) {
            let failure = Failure::new(
                Class::Schema,
                format!("{:?} has no place at the top of a file", attribute.name),
            )
            .at(&attribute.name_span);
            let known = ATTRIBUTES.iter().copied().chain(["locals"]);
            return Err(match did_you_mean(&attribute.name, known) {
                Some(near) => failure.help(format!("did you mean {near:?}?")),
                None => failure.help("values of your own belong into the `locals` block"),
            });
        }
    }
    let mut locals = 0;
    for block in &body.blocks {
        if &*block.kind == "locals" {
            locals += 1;
            if locals > 1 {
                return Err(Failure::new(Class::Schema, "a file has one `locals` block at most")
                    .at(&block.span)
                    .help("put both into one block"));
            }
        }
        shaped(block, BLOCKS)?;
    }
    Ok(())
}

fn shaped(block: &Block, shapes: &[Shape]) -> Result<()> {
    let fail = |text: String| Err(Failure::new(Class::Schema, text).at(&block.span));
    let Some(shape) = shapes.iter().find(|shape| *shape.kind == *block.kind) else {
        let known = shapes.iter().map(|shape| shape.kind);
        let failure =
            Failure::new(Class::Schema, format!("there is no block {:?} here", block.kind));
        return Err(match did_you_mean(&block.kind, known) {
            Some(near) => failure.help(format!("did you mean {near:?}?")),
            None if &*block.kind == "inputs" => failure.help("write `inputs = { … }`"),
            None => failure,
        }
        .at(&block.span));
    };
    if !shape.labels.contains(&block.labels.len()) {
        return fail(format!(
            "block {:?} takes {} label(s), {} given",
            block.kind,
            shape.labels.end(),
            block.labels.len()
        ));
    }
    if shape.kind == "locals" {
        if let Some(inner) = block.body.blocks.first() {
            return Err(Failure::new(
                Class::Schema,
                format!("block {:?} has no place in `locals`", inner.kind),
            )
            .at(&inner.span)
            .help("write it as a value: `name = { … }`"));
        }
        return Ok(());
    }
    if let Some(known) = shape.attributes {
        for attribute in &block.body.attributes {
            if !known.contains(&&*attribute.name) {
                return Err(Failure::new(
                    Class::Schema,
                    format!("block {:?} has no attribute {:?}", block.kind, attribute.name),
                )
                .at(&attribute.name_span));
            }
        }
        for inner in &block.body.blocks {
            shaped(inner, shape.blocks)?;
        }
    }
    for needed in shape.required {
        if block.body.attribute(needed).is_none() {
            return fail(format!("block {:?} needs {needed:?}", block.kind));
        }
    }
    Ok(())
}
