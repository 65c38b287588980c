//! Functions that depend on where their text stands: files, and Terragrunt's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{Class, Failure};
use super::eval::{Result, Scope, template as evaluate_template};
use super::file::{FileEval, deep_merge};
use super::func::{self, hash_base64, hash_hex};
use super::glob;
use super::loader::DecryptedText;
use super::place::{folder, join, relative, repository};
use super::template;
use super::value::{Kind, Type, Value};

/// Calls a function of this kind; none if it is none of them.
pub(super) fn call(file: &FileEval, name: &str, given: &[Value]) -> Option<Result<Value>> {
    let plain = name.strip_prefix("core::").unwrap_or(name);
    let call = Call { file, name: plain, given };
    let result = call
        .of_file()
        .or_else(|| if file.loader.is_terraform() { None } else { call.of_terragrunt() })?;
    let sensitive = given.iter().any(Value::has_sensitive);
    Some(result.map(|value| value.marked(sensitive)))
}

struct Call<'a> {
    file: &'a FileEval,
    name: &'a str,
    given: &'a [Value],
}

impl Call<'_> {
    fn fail<T>(&self, text: impl std::fmt::Display) -> Result<T> {
        Err(Failure::value(format!("{}: {text}", self.name)))
    }

    fn class<T>(&self, class: Class, text: impl std::fmt::Display) -> Result<T> {
        Err(Failure::new(class, format!("{}: {text}", self.name)))
    }

    fn count(&self, least: usize, most: usize) -> Result<()> {
        if (least..=most).contains(&self.given.len()) {
            return Ok(());
        }
        self.fail(format!("{} argument(s) given", self.given.len()))
    }

    fn text(&self, at: usize) -> Result<String> {
        match self.given.get(at) {
            Some(value) if value.is_null() => self.fail("an argument is null"),
            Some(value) => match super::convert::convert(value, &Type::String) {
                Ok(Value { kind: Kind::String(text), .. }) => Ok(text.to_string()),
                _ => self.fail("an argument is not text"),
            },
            None => self.fail("an argument is missing"),
        }
    }

    /// An argument that is not known makes the result so.
    fn unknown(&self) -> Option<Result<Value>> {
        self.given.iter().find_map(Value::unknown_reason).map(|reason| Ok(Value::unknown(reason)))
    }

    fn path(&self, at: usize) -> Result<PathBuf> {
        let text = self.text(at)?;
        if text.contains('\0') {
            return self.fail("a path must not hold a zero byte");
        }
        Ok(join(&self.file.site.text_dir, &text))
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        self.count(1, 1)?;
        self.file.loader.bytes(&self.path(at)?, Class::Value)
    }

    fn file_text(&self, at: usize) -> Result<String> {
        let path = self.path(at)?;
        match String::from_utf8(self.file.loader.bytes(&path, Class::Value)?) {
            Ok(text) => Ok(text),
            Err(_) => self.fail(format!("{} is not UTF-8", path.display())),
        }
    }

    fn hashed(&self, hash: fn(&[u8]) -> String) -> Result<Value> {
        Ok(Value::string(hash(&self.bytes(0)?)))
    }

    fn of_file(&self) -> Option<Result<Value>> {
        let known = [
            "file",
            "filebase64",
            "fileexists",
            "fileset",
            "filemd5",
            "filesha1",
            "filesha256",
            "filesha512",
            "filebase64sha256",
            "filebase64sha512",
            "templatefile",
            "templatestring",
            "abspath",
            "pathexpand",
        ];
        if !known.contains(&self.name) {
            return None;
        }
        if let Some(unknown) = self.unknown() {
            return Some(unknown);
        }
        Some(match self.name {
            "file" => self.count(1, 1).and_then(|()| self.file_text(0)).map(Value::string),
            "filebase64" => self.bytes(0).map(|bytes| {
                use base64::Engine as _;
                Value::string(base64::engine::general_purpose::STANDARD.encode(bytes))
            }),
            "fileexists" => self.file_exists(),
            "fileset" => self.file_set(),
            "filemd5" => self.hashed(hash_hex::<md5::Md5>),
            "filesha1" => self.hashed(hash_hex::<sha1::Sha1>),
            "filesha256" => self.hashed(hash_hex::<sha2::Sha256>),
            "filesha512" => self.hashed(hash_hex::<sha2::Sha512>),
            "filebase64sha256" => self.hashed(hash_base64::<sha2::Sha256>),
            "filebase64sha512" => self.hashed(hash_base64::<sha2::Sha512>),
            "templatefile" => self.template_file(),
            "templatestring" => self.template_string(),
            "abspath" => self.count(1, 1).and_then(|()| {
                let path = join(&self.file.loader.options.cwd, &self.text(0)?);
                Ok(Value::string(path.to_string_lossy()))
            }),
            _ => self.count(1, 1).and_then(|()| {
                let text = self.text(0)?;
                let home = self.file.loader.options.variables.get("HOME");
                Ok(Value::string(match (text.strip_prefix('~'), home) {
                    (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                        format!("{home}{rest}")
                    }
                    _ => text,
                }))
            }),
        })
    }

    fn file_exists(&self) -> Result<Value> {
        self.count(1, 1)?;
        let path = self.path(0)?;
        self.file.loader.inside(&path)?;
        if path.is_dir() {
            return self.fail(format!("{} is a folder", path.display()));
        }
        Ok(Value::bool(path.is_file()))
    }

    fn file_set(&self) -> Result<Value> {
        self.count(2, 2)?;
        let dir = self.path(0)?;
        self.file.loader.inside(&dir)?;
        let pattern = self.text(1)?;
        let Some(regex) = glob::compile(&pattern) else {
            return self.fail(format!("{pattern:?} is no file pattern"));
        };
        if !dir.is_dir() {
            return Ok(Kind::Set(Type::String, Vec::new().into()).into());
        }
        match glob::files(&dir, &regex) {
            Ok(files) => {
                let files: Vec<Value> = files.into_iter().map(Value::string).collect();
                Ok(Kind::Set(Type::String, files.into()).into())
            }
            Err(error) => self.fail(error),
        }
    }

    fn names(&self) -> Result<BTreeMap<String, Value>> {
        match self.given.get(1).map(|value| (value.attributes(), value)) {
            Some((Some(names), _)) => Ok((**names).clone()),
            _ => self.fail("the second argument must be an object"),
        }
    }

    fn template_file(&self) -> Result<Value> {
        self.count(2, 2)?;
        let path = self.path(0)?;
        let text = self.file_text(0)?;
        let parts = template::file(&text).map_err(|failure| failure.in_file(&path))?;
        let scope = TemplateScope { file: self.file };
        evaluate_template(&parts, &self.names()?, &scope).map_err(|failure| failure.in_file(&path))
    }

    fn template_string(&self) -> Result<Value> {
        self.count(2, 2)?;
        let text = self.text(0)?;
        let parts = template::file(&text)
            .or_else(|failure| self.fail(format!("the template is wrong: {failure}")))?;
        let scope = TemplateScope { file: self.file };
        evaluate_template(&parts, &self.names()?, &scope)
            .or_else(|failure| self.fail(format!("the template fails: {failure}")))
    }

    fn of_terragrunt(&self) -> Option<Result<Value>> {
        let site = &self.file.site;
        let shown = |path: &Path| Ok(Value::string(path.to_string_lossy()));
        let words =
            |words: &[&str]| Ok(Value::strings(words.iter().map(|word| (*word).to_owned())));
        if let Some(unknown) = self.unknown()
            && matches!(
                self.name,
                "read_terragrunt_config"
                    | "find_in_parent_folders"
                    | "sops_decrypt_file"
                    | "get_env"
            )
        {
            return Some(unknown);
        }
        Some(match self.name {
            "read_terragrunt_config" => self.read_config(),
            "find_in_parent_folders" => self.find_in_parents(),
            "get_terragrunt_dir" => self.count(0, 0).and_then(|()| shown(site.unit_dir())),
            "get_original_terragrunt_dir" => {
                self.count(0, 0).and_then(|()| shown(folder(&site.original)))
            }
            "get_parent_terragrunt_dir" => self
                .include_dir()
                .and_then(|dir| shown(dir.as_deref().unwrap_or_else(|| site.unit_dir()))),
            "path_relative_from_include" => self.include_dir().map(|dir| {
                Value::string(
                    dir.map_or_else(|| ".".to_owned(), |dir| relative(site.unit_dir(), &dir)),
                )
            }),
            "path_relative_to_include" => self.include_dir().map(|dir| {
                Value::string(
                    dir.map_or_else(|| ".".to_owned(), |dir| relative(&dir, site.unit_dir())),
                )
            }),
            "get_repo_root" => self.repository().and_then(|root| shown(&root)),
            "get_path_from_repo_root" => {
                self.repository().map(|root| Value::string(relative(&root, &site.work_dir)))
            }
            "get_path_to_repo_root" => {
                self.repository().map(|root| Value::string(relative(&site.work_dir, &root)))
            }
            "get_working_dir" => shown(&site.work_dir),
            "get_env" => self.environment(),
            "get_platform" => Ok(Value::string(std::env::consts::OS)),
            "sops_decrypt_file" => self.decrypted(),
            "read_tfvars_file" => self.tfvars(),
            "mark_as_read" => self.count(1, 1).and_then(|()| self.text(0)).map(Value::string),
            "constraint_check" => self.constraint(),
            "deep_merge" => self.deep_merged(),
            "get_terraform_commands_that_need_vars" => {
                words(&["apply", "console", "destroy", "import", "plan", "push", "refresh"])
            }
            "get_terraform_commands_that_need_locking" => {
                words(&["apply", "destroy", "import", "plan", "refresh", "taint", "untaint"])
            }
            "get_terraform_commands_that_need_input" => {
                words(&["apply", "import", "init", "plan", "refresh"])
            }
            "get_terraform_commands_that_need_parallelism" => words(&["apply", "plan", "destroy"]),
            "get_terraform_command" => Ok(Value::string("")),
            "get_terraform_cli_args" => Ok(Value::strings(Vec::new())),
            "run_cmd" => {
                return Some(Err(Failure::new(
                    Class::RunCmd,
                    "run_cmd is not available: no helper process is started",
                )
                .help("put the value into the tree, or into a SOPS file")));
            }
            _ => return None,
        })
    }

    fn read_config(&self) -> Result<Value> {
        self.count(1, 2)?;
        let text = self.text(0)?;
        if self.given.get(1).is_some_and(Value::is_null) {
            return self.fail("the default must not be null");
        }
        // In an included text paths are relative to the including file's folder.
        let mut path = join(self.file.site.unit_dir(), &text);
        if path.is_dir() {
            path = path.join("terragrunt.hcl");
        }
        if !path.exists() {
            return match self.given.get(1) {
                Some(default) => Ok(default.clone()),
                None => {
                    self.class(Class::MissingFile, format!("there is no file {}", path.display()))
                }
            };
        }
        let reading = self.file.path().to_path_buf();
        let loader = &self.file.loader;
        loader.while_reading(&reading, || loader.read(&path, &self.file.site)?.as_value())
    }

    fn find_in_parents(&self) -> Result<Value> {
        self.count(0, 2)?;
        let wanted = match self.given.first() {
            Some(_) => self.text(0)?,
            None => String::new(),
        };
        let fallback = match self.given.get(1) {
            Some(value) if value.is_null() => return self.fail("the fallback must not be null"),
            Some(_) => Some(self.text(1)?),
            None => None,
        };
        let names: Vec<&str> = if wanted.is_empty() {
            vec!["terragrunt.hcl", "terragrunt.hcl.json"]
        } else {
            vec![&wanted]
        };
        let start = self.file.site.unit_dir();
        for dir in start.ancestors().skip(1) {
            for name in &names {
                let candidate = dir.join(name.trim_start_matches('/'));
                if candidate.exists() {
                    let found = join(dir, name.trim_start_matches('/'));
                    self.file.loader.inside(&found)?;
                    return Ok(Value::string(found.to_string_lossy()));
                }
            }
        }
        match fallback {
            Some(fallback) => Ok(Value::string(fallback)),
            None => self.class(
                Class::NotFoundInParents,
                format!("no folder above {} has {}", start.display(), names.join(" or ")),
            ),
        }
    }

    /// The folder of the include that is meant; none without includes.
    fn include_dir(&self) -> Result<Option<PathBuf>> {
        self.count(0, 1)?;
        let includes = &self.file.site.includes;
        let wanted = self.given.first().map(|_| self.text(0)).transpose()?;
        let found = match (includes.as_slice(), wanted) {
            ([], _) => return Ok(None),
            ([(_, path)], _) => path,
            (_, None) => {
                return self
                    .class(Class::Include, "with several includes the name of one is needed");
            }
            (many, Some(name)) => match many.iter().find(|(other, _)| *other == name) {
                Some((_, path)) => path,
                None => return self.class(Class::Include, format!("there is no include {name:?}")),
            },
        };
        Ok(Some(folder(found).to_path_buf()))
    }

    fn repository(&self) -> Result<PathBuf> {
        self.count(0, 0)?;
        match repository(&self.file.site.work_dir) {
            Some(root) => Ok(root),
            None => match &self.file.loader.options.boundary {
                // Outside of version control the folder above the tree stands for the root.
                Some(boundary) => Ok(boundary.clone()),
                None => self.class(Class::Git, "there is no git repository here"),
            },
        }
    }

    fn environment(&self) -> Result<Value> {
        self.count(1, 2)?;
        let name = self.text(0)?;
        if name.is_empty() {
            return self.fail("the name of the variable is empty");
        }
        let default = self.given.get(1).map(|_| self.text(1)).transpose()?;
        match (self.file.loader.options.variables.get(&name), default) {
            (Some(value), _) => Ok(Value::string(value)),
            (None, Some(default)) => Ok(Value::string(default)),
            (None, None) => self.class(
                Class::EnvMissing,
                format!("variable {name} is not set, and there is no default"),
            ),
        }
    }

    fn decrypted(&self) -> Result<Value> {
        self.count(1, 1)?;
        let path = join(&self.file.site.work_dir, &self.text(0)?);
        self.file.loader.inside(&path)?;
        if !path.exists() {
            return self.class(Class::MissingFile, format!("there is no file {}", path.display()));
        }
        match (self.file.loader.options.decrypt)(&path) {
            Ok(DecryptedText::Plain(text)) => Ok(Value::string(text).marked(true)),
            Ok(DecryptedText::NoKey(reason)) => Ok(Value::unknown(&reason).marked(true)),
            Err(why) => self.class(Class::Sops, format!("{}: {why}", path.display())),
        }
    }

    fn tfvars(&self) -> Result<Value> {
        self.count(1, 1)?;
        let path = join(&self.file.site.work_dir, &self.text(0)?);
        let bytes = self.file.loader.bytes(&path, Class::MissingFile)?;
        let Ok(text) = String::from_utf8(bytes) else {
            return self.fail(format!("{} is not UTF-8", path.display()));
        };
        let body = super::parse::body(&text).map_err(|failure| failure.in_file(&path))?;
        let scope = TemplateScope { file: self.file };
        let mut values = BTreeMap::new();
        for found in &body.attributes {
            let value = super::eval::evaluate(&found.expr, &scope)
                .map_err(|failure| failure.in_file(&path))?;
            values.insert(found.name.to_string(), value);
        }
        // The function gives JSON text.
        Ok(Value::string(Value::object(values).to_json_escaped().unwrap_or_default()))
    }

    fn constraint(&self) -> Result<Value> {
        self.count(2, 2)?;
        let (version, constraints) = (self.text(0)?, self.text(1)?);
        let Some(version) = Version::parse(&version) else {
            return self.fail(format!("{version:?} is no version"));
        };
        for constraint in constraints.split(',') {
            match version.meets(constraint.trim()) {
                Some(true) => {}
                Some(false) => return Ok(Value::bool(false)),
                None => return self.fail(format!("{constraint:?} is no constraint")),
            }
        }
        Ok(Value::bool(true))
    }

    fn deep_merged(&self) -> Result<Value> {
        let mut values = self.given.iter().filter(|value| !value.is_null());
        let Some(first) = values.next() else { return Ok(Value::object(BTreeMap::new())) };
        Ok(values.fold(first.clone(), |all, next| deep_merge(&all, next)))
    }
}

/// A version as HashiCorp's library has it: up to any number of parts, a pre-release.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    parts: Vec<u64>,
    given: usize,
    pre: String,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next()?;
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut parts: Vec<u64> =
            numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let given = parts.len();
        while parts.len() < 3 {
            parts.push(0);
        }
        Some(Self { parts, given, pre: pre.to_owned() })
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let full = |version: &Self| {
            let core = version.parts.iter().take(3).map(u64::to_string).collect::<Vec<_>>();
            let dash =
                if version.pre.is_empty() { String::new() } else { format!("-{}", version.pre) };
            semver::Version::parse(&format!("{}{dash}", core.join("."))).ok()
        };
        match (full(self), full(other)) {
            (Some(a), Some(b)) => a.cmp_precedence(&b),
            _ => self.parts.cmp(&other.parts),
        }
    }

    fn meets(&self, constraint: &str) -> Option<bool> {
        use std::cmp::Ordering as O;
        let end = constraint.find(|c: char| !matches!(c, '<' | '>' | '=' | '!' | '~'))?;
        let (operator, rest) = constraint.split_at_checked(end)?;
        let wanted = Self::parse(rest)?;
        // A pre-release fits only constraints that name one of the same version.
        let pre_fits =
            self.pre.is_empty() || (!wanted.pre.is_empty() && self.parts == wanted.parts);
        let order = self.order(&wanted);
        Some(match operator {
            "" | "=" => order == O::Equal,
            "!=" => order != O::Equal,
            ">" => pre_fits && order == O::Greater,
            ">=" => pre_fits && order != O::Less,
            "<" => pre_fits && order == O::Less,
            "<=" => pre_fits && order != O::Greater,
            "~>" => {
                let fixed = wanted.given.saturating_sub(1).max(1);
                pre_fits
                    && order != O::Less
                    && self.parts.iter().take(fixed).eq(wanted.parts.iter().take(fixed))
            }
            _ => return None,
        })
    }
}

/// What a template file sees: the names it is given, and Terraform's functions.
struct TemplateScope<'a> {
    file: &'a FileEval,
}

impl Scope for TemplateScope<'_> {
    fn root(&self, _: &str) -> Option<Result<Value>> {
        None
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value>> {
        if matches!(name, "templatefile" | "templatestring") {
            return Some(Err(Failure::value("a template must not use another one")));
        }
        Call { file: self.file, name, given: arguments }
            .of_file()
            .or_else(|| Some(func::call(name, arguments)))
    }

    fn roots(&self) -> Vec<String> {
        Vec::new()
    }
}
