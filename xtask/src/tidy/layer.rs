//! Who may know whom.

use std::path::Path;

use super::Breach;
use crate::metrics::rust_files;

/// A folder or file and the words that must not stand in its code.
struct Rule {
    place: &'static str,
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        place: "crates/clusterctl/src/engine",
        except: &[],
        words: &["crate::", "proxmox_client", "talos_client", "netplan", "imagefactory"],
        why: "the engine knows no domain and nothing else of this crate",
    },
    Rule {
        place: "crates/clusterctl/src/ops",
        except: &[],
        words: &["crate::cli", "println!", "eprintln!", "process::exit"],
        why: "verbs return values; words for people are made in cli",
    },
    Rule {
        place: "crates/clusterctl/src/compose",
        except: &[],
        words: &["crate::cli", "crate::ops", "println!", "eprintln!"],
        why: "compose knows neither verbs nor the terminal",
    },
    Rule {
        place: "crates/clusterctl/src/spec",
        except: &[],
        words: &["crate::cli", "crate::ops", "crate::compose", "crate::engine", "proxmox_client"],
        why: "the tree is read without knowing what is done with it",
    },
    Rule {
        place: "crates/clusterctl/src",
        except: &["cli/env.rs", "spec/hcl/file_call.rs"],
        words: &["env::var(", "env::var_os(", "env::vars("],
        why: "only cli::env reads the environment",
    },
    Rule {
        place: "crates/netplan/src",
        except: &[],
        words: &[
            "async fn",
            "SystemTime",
            "Instant::now",
            "std::env",
            "std::fs",
            "fs_err",
            "rand::",
        ],
        why: "netplan is pure: no clock, no files, no environment",
    },
    Rule {
        place: "crates/proxmox-client/src/sim",
        except: &[],
        words: &[
            "crate::client",
            "crate::api",
            "crate::transport",
            "crate::wire",
            "crate::plan",
            "crate::retry",
            "crate::auth",
            "crate::tls",
        ],
        why: "a simulator shares nothing with the client but id types",
    },
    Rule {
        place: "crates/talos-client/src/sim",
        except: &[],
        words: &[
            "crate::client",
            "crate::api",
            "crate::machineconfig",
            "crate::secrets",
            "crate::plan",
            "crate::wait",
            "crate::tls",
            "crate::talosconfig",
        ],
        why: "a simulator shares nothing with the client but the protobuf types",
    },
];

const LIBRARIES: [(&str, &str); 4] = [
    ("proxmox-client", "proxmox_client"),
    ("talos-client", "talos_client"),
    ("netplan", "netplan"),
    ("imagefactory", "imagefactory"),
];

pub(crate) fn check(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    for rule in RULES {
        let dir = root.join(rule.place);
        if !dir.is_dir() {
            breaches.push(Breach { place: rule.place.into(), what: "no such folder".into() });
            continue;
        }
        for file in rust_files(&dir)? {
            let name = file.strip_prefix(&dir).unwrap_or(&file).to_string_lossy().into_owned();
            if rule.except.contains(&name.as_str()) || name.ends_with("tests.rs") {
                continue;
            }
            search(&file, root, rule.words, rule.why, breaches)?;
        }
    }
    for (folder, own) in LIBRARIES {
        let others: Vec<String> = LIBRARIES
            .iter()
            .filter(|(_, name)| *name != own)
            .map(|(_, name)| format!("{name}::"))
            .collect();
        let words: Vec<&str> = others.iter().map(String::as_str).collect();
        let dir = root.join("crates").join(folder).join("src");
        for file in rust_files(&dir)? {
            search(&file, root, &words, "the libraries do not know one another", breaches)?;
        }
    }
    prints(root, breaches)
}

/// Only `main.rs`, `cli` and `xtask` print or exit.
fn prints(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    let words = ["println!(", "eprintln!(", "process::exit("];
    for file in rust_files(&root.join("crates"))? {
        let text = file.to_string_lossy().into_owned();
        let may = ["/cli/", "/examples/", "/tests/", "src/main.rs"];
        if !may.iter().any(|part| text.contains(part)) {
            search(&file, root, &words, "only main.rs and cli print or exit", breaches)?;
        }
    }
    Ok(())
}

/// Looks for words in the code of a file: comments, and everything after its tests begin, are
/// left out.
fn search(
    file: &Path,
    root: &Path,
    words: &[&str],
    why: &str,
    breaches: &mut Vec<Breach>,
) -> anyhow::Result<()> {
    let text = fs_err::read_to_string(file)?;
    let place = file.strip_prefix(root).unwrap_or(file).display();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        if let Some(word) = words.iter().find(|word| code.contains(**word)) {
            breaches.push(Breach {
                place: format!("{place}:{}", number + 1),
                what: format!("{word:?}: {why}"),
            });
        }
    }
    Ok(())
}
