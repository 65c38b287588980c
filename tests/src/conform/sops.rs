//! Answers to `sops-decrypt` and `sops-encrypt`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use clusterctl::spec::sops::{
    CreationRule, Decrypted, EncryptOptions, Encrypted, Format, Identities, IdentitySources, Plain,
    Selection, SopsError, Step, decrypt, encrypt, find_rule, rule_of,
};
use serde_json::{Map, Value, json};

/// Our answer to a case.
pub(super) fn answer(
    kind: &str,
    golden_dir: &Path,
    id: &str,
    case: &Value,
) -> anyhow::Result<Value> {
    match kind {
        "sops-decrypt" => answer_decrypt(golden_dir, case),
        _ => answer_encrypt(golden_dir, id, case),
    }
}

fn refused(error: &SopsError) -> Value {
    json!({ "error": { "class": error.class().name(), "text": error.to_string() } })
}

fn format_of(case: &Value) -> Format {
    Format::of_name(case["format"].as_str().unwrap_or_default()).unwrap_or(Format::Binary)
}

fn answer_decrypt(dir: &Path, case: &Value) -> anyhow::Result<Value> {
    let bytes = fs_err::read(dir.join("files").join(case["file"].as_str().unwrap_or_default()))?;
    let home = tempfile::tempdir()?;
    let keys = dir.join("keys");
    let sources = sources(case, &keys, home.path())?;
    let mut identities = Identities::gather(&sources);
    Ok(match decrypt(&bytes, format_of(case), &mut identities) {
        Ok(opened) => shown(&opened),
        Err(error) => refused(&error),
    })
}

fn sources(case: &Value, keys: &Path, home: &Path) -> anyhow::Result<IdentitySources> {
    let mut sources = IdentitySources::default();
    for name in case["identities"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let path = keys.join(name);
        if name.starts_with("ssh_") {
            sources.ssh_files.push(path);
        } else {
            sources.key_files.push(path);
        }
    }
    if let Some(variables) = case["env"].as_object() {
        for (name, value) in variables {
            let text = value.as_str().unwrap_or_default();
            let text = text.replace("{keys}", &keys.to_string_lossy());
            let text = text.replace("{home}", &home.to_string_lossy());
            sources.variables.insert(name.clone(), text);
        }
        sources.variables.entry("HOME".into()).or_insert_with(|| home.to_string_lossy().into());
    }
    for (to, from) in case["home"].as_object().into_iter().flatten() {
        let to = home.join(to);
        fs_err::create_dir_all(to.parent().unwrap_or(home))?;
        fs_err::copy(keys.join(from.as_str().unwrap_or_default()), to)?;
    }
    Ok(sources)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn shown(opened: &Decrypted) -> Value {
    match opened {
        Decrypted::Binary(bytes) => json!({
            "data_base64": base64::engine::general_purpose::STANDARD.encode(bytes.as_slice()),
            "data_sha256": sha256(bytes),
        }),
        Decrypted::Tree(tree) => {
            let Some(document) = tree.first() else { return json!({ "data": {} }) };
            match document.to_json() {
                Some(data) => json!({ "data": data }),
                None => json!({ "no_data": "a value that JSON cannot say" }),
            }
        }
    }
}

fn answer_encrypt(dir: &Path, id: &str, case: &Value) -> anyhow::Result<Value> {
    let format = format_of(case);
    let root = tempfile::tempdir()?;
    let root_path = fs_err::canonicalize(root.path())?;
    let plain = match case["plain_base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text)?,
        None => case["plain"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    for (name, text) in case["configs"].as_object().into_iter().flatten() {
        let path = root_path.join(name);
        fs_err::create_dir_all(path.parent().unwrap_or(&root_path))?;
        fs_err::write(path, text.as_str().unwrap_or_default())?;
    }
    let rule = match rule(case, &root_path) {
        Ok(rule) => rule,
        Err(error) => return Ok(refused(&error)),
    };
    let now = "2026-11-24T00:00:00Z";
    let written = match encrypt(Plain::Text(&plain), format, &rule, now) {
        Ok(written) => written,
        Err(error) => return Ok(refused(&error)),
    };
    if let Some(out) = std::env::var_os("CONFORM_OUT") {
        fs_err::write(PathBuf::from(out).join(id.replace('/', "_")), &written.bytes)?;
    }
    let reads_back = reads_back(dir, &plain, format, &written);
    Ok(json!({
        "key_groups": rule.groups,
        "recipients": rule.groups.concat(),
        "options": options(&rule, format),
        "encrypted_paths": paths(&written.encrypted_paths),
        "plain_paths": paths(&written.plain_paths),
        "empty_paths": paths(&written.empty_paths),
        "reads_back": reads_back,
    }))
}

/// The rule that the options, the variables and the configuration of a case give.
fn rule(case: &Value, root: &Path) -> Result<CreationRule, SopsError> {
    let words = |key: &str| -> Vec<String> {
        case[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let option = |name: &str, words: &[String]| {
        words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)).cloned()
    };
    let (args, global) = (words("args"), words("global_args"));
    let variable = |name: &str| case["env"][name].as_str().map(str::to_owned);
    let options = EncryptOptions {
        recipients: option("--age", &args).or_else(|| variable("SOPS_AGE_RECIPIENTS")),
    };
    let file = root.join(case["path"].as_str().unwrap_or_default());
    let cwd = root.join(case["cwd"].as_str().unwrap_or_default());
    let named = option("--config", &global).or_else(|| variable("SOPS_CONFIG"));
    let rule = match named {
        Some(name) => {
            let config = cwd.join(name);
            let bytes = fs_err::read(&config).unwrap_or_default();
            rule_of(&bytes, &config, &file, &options)
        }
        None => find_rule(&cwd, &file, &options),
    }?;
    with_arguments(rule, &args)
}

fn with_arguments(mut rule: CreationRule, args: &[String]) -> Result<CreationRule, SopsError> {
    for pair in args.windows(2) {
        let [name, value] = pair else { continue };
        let selection = match name.as_str() {
            "--encrypted-regex" => Selection::EncryptedRegex(value.clone()),
            "--unencrypted-regex" => Selection::UnencryptedRegex(value.clone()),
            "--encrypted-suffix" => Selection::EncryptedSuffix(value.clone()),
            "--unencrypted-suffix" => Selection::UnencryptedSuffix(value.clone()),
            _ => continue,
        };
        rule.select(selection)?;
    }
    if args.iter().any(|word| word == "--mac-only-encrypted") {
        rule.mac_only_encrypted = true;
    }
    Ok(rule)
}

fn options(rule: &CreationRule, format: Format) -> Value {
    let mut options = Map::new();
    if format != Format::Binary
        && let Some((name, value)) = rule.selection_entry()
    {
        options.insert(name.into(), json!(value));
    }
    if rule.mac_only_encrypted && format != Format::Binary {
        options.insert("mac_only_encrypted".into(), json!(true));
    }
    if let Some(threshold) = rule.written_threshold() {
        options.insert("shamir_threshold".into(), json!(threshold));
    }
    Value::Object(options)
}

fn paths(paths: &[Vec<Step>]) -> Value {
    paths
        .iter()
        .map(|path| -> Value {
            path.iter()
                .map(|step| match step {
                    Step::Key(key) => json!(key),
                    Step::Index(index) => json!(index),
                })
                .collect()
        })
        .collect()
}

/// What our reader makes of our own file, with every key of the golden data.
fn reads_back(dir: &Path, plain: &[u8], format: Format, written: &Encrypted) -> bool {
    let mut sources = IdentitySources::default();
    for name in ["age1.txt", "age2.txt", "age3.txt"] {
        sources.key_files.push(dir.join("keys").join(name));
    }
    for name in ["ssh_ed25519", "ssh_rsa"] {
        sources.ssh_files.push(dir.join("keys").join(name));
    }
    match decrypt(&written.bytes, format, &mut Identities::gather(&sources)) {
        Ok(Decrypted::Binary(bytes)) => bytes.as_slice() == plain,
        Ok(opened) => opened.same_as_text(plain, format),
        Err(_) => false,
    }
}
